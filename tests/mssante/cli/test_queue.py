"""`mssante queue`: what waits, and what an operator may do to it."""

import pytest

from mssante.domain.address import parse_address
from mssante.store import Store, Tx
from mssante.store.journal import entries
from mssante.store.mail import NewMessage, add_message
from mssante.store.queue import QueueRecipient, enqueue, of_accepted, record_deferred, record_sent
from tests.mssante.cli.conftest import Operator

TO = ("x@clinique.test", "y@clinique.test")


@pytest.fixture(autouse=True)
def _queued(operator: Operator, store: Store) -> None:
    """One message for two recipients; the first try got a 451, the next is an hour away."""
    writer = store.contents.begin()
    writer.write(b"Subject: essai\r\n\r\n.\r\n")
    content = writer.finish()

    def queued(tx: Tx) -> None:
        message_id = add_message(tx, NewMessage(content=content, received_us=tx.now_us, prepend=b"", card=b""))
        recipients = [QueueRecipient(parse_address(to)) for to in TO]
        enqueue(tx, message_id, "a@cabinet.test", recipients, expires_us=tx.now_us + 10**12)

    store.write_now(queued, contents=[content])
    ids = [row["id"] for row in operator("queue", "list", "--json").json]
    store.write_now(lambda tx: record_deferred(tx, ids, "451 4.3.0 later", tx.now_us + 3_600_000_000))


def ids(operator: Operator) -> list[str]:
    return [str(row["id"]) for row in operator("queue", "list", "--json").json]


def test_list_and_show(operator: Operator) -> None:
    rows = operator("queue", "list", "--json").json
    assert [row["recipient"] for row in rows] == list(TO)
    shown = operator("queue", "show", str(rows[0]["id"]), "--json").json
    assert shown["sender"] == "a@cabinet.test"
    assert shown["state"] == "queued"
    assert shown["attempts"] == 1
    assert shown["last_reply"] == "451 4.3.0 later"
    assert shown["due"].endswith("Z")
    assert "x@clinique.test" in operator("queue", "list").out


def test_retry(operator: Operator) -> None:
    first, _ = ids(operator)
    before = operator("queue", "show", first, "--json").json["due"]
    assert operator("queue", "retry", first).code == 0
    assert operator("queue", "show", first, "--json").json["due"] < before
    assert operator("queue", "retry", "--all").out == "2 due now\n"
    assert operator("queue", "retry").code == 2
    assert operator("queue", "retry", first, "--all").code == 2


def test_hold_release_drop(operator: Operator, store: Store) -> None:
    first, second = ids(operator)
    assert operator("queue", "hold", first).code == 0
    assert operator("queue", "show", first, "--json").json["state"] == "held"
    assert operator("queue", "retry", first).code == 1
    assert operator("queue", "release", second).code == 1
    assert operator("queue", "release", first).code == 0
    assert operator("queue", "drop", second, "--motif", "adresse erronée").code == 0
    assert ids(operator) == [first]
    assert operator("queue", "show", second, "--json").json["state"] == "dropped"
    assert operator("queue", "drop", second, "--motif", "again").code == 1
    acts = [(entry.action, entry.object) for entry in store.read_now(entries) if entry.action.startswith("queue.")]
    assert acts == [
        ("queue.hold", f"queue:{first}"),
        ("queue.release", f"queue:{first}"),
        ("queue.drop", f"queue:{second}"),
    ]


@pytest.mark.parametrize("command", [("show",), ("retry",), ("hold",), ("release",), ("drop", "--motif", "x")])
def test_no_such_item(operator: Operator, command: tuple[str, ...]) -> None:
    ended = operator("queue", command[0], "999", *command[1:])
    assert (ended.code, ended.out, len(ended.lines)) == (1, "", 1)


@pytest.mark.parametrize("number", ["1000000000000000", "99999999999999999999"])
@pytest.mark.parametrize(
    ("command", "code"),
    [(("show",), 1), (("retry",), 2), (("hold",), 2), (("release",), 2), (("drop", "--motif", "x"), 2)],
)
def test_a_number_beyond_any_item(operator: Operator, command: tuple[str, ...], code: int, number: str) -> None:
    ended = operator("queue", command[0], number, *command[1:])
    assert (ended.code, ended.out, len(ended.lines)) == (code, "", 1)


def test_what_became_of_a_message_recipient_by_recipient(operator: Operator, store: Store) -> None:
    writer = store.contents.begin()
    writer.write(b"Subject: essai\r\n\r\n.\r\n")
    content = writer.finish()
    accepted = "00112233445566ff"

    def queued(tx: Tx) -> None:
        message_id = add_message(tx, NewMessage(content=content, received_us=tx.now_us, prepend=b"", card=b""))
        to = [QueueRecipient(parse_address(one)) for one in TO]
        enqueue(tx, message_id, "a@cabinet.test", to, expires_us=tx.now_us + 10**12, accepted_as=accepted)
        tx.journal("message.accepted", actor="a", object=accepted, sender="a@cabinet.test", local=1, leaving=2)

    def tried(tx: Tx) -> None:
        first, second = of_accepted(tx.conn, accepted)
        record_sent(tx, [first.id], "250 2.0.0 pris")
        record_deferred(tx, [second.id], "451 4.3.0 later", tx.now_us)
        for item, action, status in ((first, "sent", "2.0.0"), (second, "deferred", "4.3.0")):
            said = {"cause": "refused", "status": status, "peer": "mx.clinique.test"}
            tx.journal(f"delivery.{action}", actor="out", object=accepted, recipients=[item.recipient], **said)

    store.write_now(queued, contents=[content])
    store.write_now(tried)
    shown = operator("queue", "show", accepted, "--json").json
    assert (shown["accepted_as"], shown["sender"], shown["here"]) == (accepted, "a@cabinet.test", 1)
    lines = [(line["recipient"], line["outcome"], line["last_reply"]) for line in shown["recipients"]]
    assert lines == [(TO[0], "sent", "250 2.0.0 pris"), (TO[1], "deferred", "451 4.3.0 later")]
    steps = [[(step["what"], step["status"]) for step in line["history"]] for line in shown["recipients"]]
    assert steps == [[("accepted", ""), ("sent", "2.0.0")], [("accepted", ""), ("deferred", "4.3.0")]]
    second = str(shown["recipients"][1]["id"])
    operator("queue", "hold", second)
    one = operator("queue", "show", second, "--json").json
    assert (one["accepted_as"], one["outcome"]) == (accepted, "held")
    assert [step["what"] for step in one["history"]] == ["accepted", "deferred", "held"]
    said = operator("queue", "show", accepted).out
    assert [word in said for word in (accepted, TO[0], "250 2.0.0 pris", "held")] == [True] * 4
    assert "mx.clinique.test" in operator("queue", "show", second).out
    missing = operator("queue", "show", "ffffffffffffffff")
    assert (missing.code, missing.out) == (1, "")
