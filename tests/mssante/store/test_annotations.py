"""Notes on folders, and how full bals are, in both databases."""

from mssante.store import Store
from mssante.store.accounts import set_quota
from mssante.store.annotations import annotate, notes_of
from mssante.store.mail import create_folder, delete_folder
from mssante.store.quota import filled, mark
from tests.mssante.store.made import make_bals


def test_notes_belong_to_a_bal_and_go_with_their_folder(store: Store) -> None:
    alice, bob = make_bals(store, "alice", "bob")
    folder = store.write_now(create_folder, alice, "Projets")
    for bal_id, name, value in (
        (alice, "/private/comment", b"a"),
        (alice, "/private/comment", b"b"),
        (alice, "/shared/comment", b"\x00\xff"),
        (alice, "/private_comment", b"no"),
        (bob, "/private/comment", b"c"),
        (alice, "/private/vendor", None),
    ):
        store.write_now(annotate, bal_id, folder, name, value)
    assert store.read_now(notes_of, alice, folder, "/private/") == {"/private/comment": b"b"}
    assert store.read_now(notes_of, alice, folder, "/shared/") == {"/shared/comment": b"\x00\xff"}
    assert store.read_now(notes_of, bob, folder, "/private/") == {"/private/comment": b"c"}
    assert store.read_now(notes_of, alice, 0, "/") == {}
    store.write_now(annotate, alice, folder, "/private/comment", None)
    assert store.read_now(notes_of, alice, folder, "/private/") == {}
    store.write_now(delete_folder, folder)
    assert store.read_now(notes_of, bob, folder, "/") == {}


def test_a_level_is_marked_by_one_alone(store: Store) -> None:
    full, empty, _ = make_bals(store, "full", "empty", "unlimited")
    store.write_now(set_quota, full, 0)
    store.write_now(set_quota, empty, 1000)
    assert store.read_now(filled, (80, 95)) == ([], 0)  # a quota of nothing is never reached
    store.write_now(
        lambda tx: (
            tx.conn.exec_driver_sql(f"UPDATE bal SET used_bytes = 960, quota_bytes = 1000 WHERE id = {full}").rowcount
        )
    )
    found, after = store.read_now(filled, (80, 95))
    assert [(one.bal.id, one.level, one.told) for one in found] == [(full, 95, 0)] and after == 0
    assert [store.write_now(mark, found[0]), store.write_now(mark, found[0])] == [True, False]
    assert store.read_now(filled, (80, 95)) == ([], 0)
    store.write_now(lambda tx: tx.conn.exec_driver_sql("UPDATE bal SET used_bytes = 0").rowcount)
    assert [(one.bal.id, one.level, one.told) for one in store.read_now(filled, (80, 95))[0]] == [(full, 0, 95)]
