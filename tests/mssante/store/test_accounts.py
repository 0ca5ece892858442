"""Bals and delegations."""

import pytest

from mssante.domain.address import parse_address
from mssante.domain.bal import BalState, BalType
from mssante.store import AlreadyExists, NotFound, Store
from mssante.store.accounts import (
    NewBal,
    create_bal,
    create_bals,
    delegate,
    delegates,
    delegations,
    find_bal,
    find_bals,
    get_bal,
    lent_to,
    list_bals,
    set_password_hash,
    set_quota,
    set_state,
    withdraw,
)
from tests.mssante.store.made import DOCTOR, make_bals
from tests.support.clock import FakeClock


def test_a_bal_is_found_as_it_was_opened(store: Store, clock: FakeClock) -> None:
    new = NewBal(
        address=DOCTOR,
        type=BalType.PER,
        rpps="810001234567",
        nom="Durand",
        prenom="Marie",
        profession="10",
        liste_rouge=True,
        password_hash="$argon2id$...",
        quota_bytes=1000,
    )
    bal_id = store.write_now(create_bal, new)
    bal = store.read_now(find_bal, parse_address(DOCTOR))
    assert bal is not None
    assert (bal.id, bal.address, bal.type, bal.state) == (bal_id, DOCTOR, BalType.PER, BalState.ACTIVE)
    assert (bal.rpps, bal.nom, bal.prenom, bal.profession, bal.liste_rouge) == (
        "810001234567",
        "Durand",
        "Marie",
        "10",
        True,
    )
    assert (bal.password_hash, bal.used_bytes, bal.quota_bytes, bal.full) == ("$argon2id$...", 0, 1000, False)
    assert (bal.created_us, bal.motif, bal.adeli, bal.finess) == (clock.now_us(), "", None, None)
    assert store.read_now(get_bal, bal_id) == bal
    assert store.read_now(find_bal, "nobody@cabinet.mssante.fr") is None
    assert store.read_now(get_bal, 10_000) is None


def test_an_address_is_given_once_for_ever(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    store.write_now(set_state, bal_id, BalState.CLOSED, "départ")
    with pytest.raises(AlreadyExists, match="a@cabinet"):
        make_bals(store, "a")
    bal = store.read_now(get_bal, bal_id)
    assert bal is not None
    assert (bal.state, bal.motif) == (BalState.CLOSED, "départ")


def test_many_bals_are_opened_all_or_none(store: Store) -> None:
    make_bals(store, "taken")
    with pytest.raises(AlreadyExists, match="taken"):
        make_bals(store, "new1", "taken", "new2")
    with pytest.raises(AlreadyExists, match="new1"):
        make_bals(store, "new1", "new1")
    assert [bal.address for bal in store.read_now(list_bals)] == ["taken@cabinet.mssante.fr"]
    ids = make_bals(store, *(f"u{number:04}" for number in range(1500)))
    found = store.read_now(find_bals, [f"u{number:04}@cabinet.mssante.fr" for number in range(1500)])
    assert [found[f"u{number:04}@cabinet.mssante.fr"].id for number in range(1500)] == ids
    assert store.write_now(create_bals, []) == []


def test_listing_by_type(store: Store) -> None:
    make_bals(store, "a")
    store.write_now(create_bal, NewBal(address="secretariat@cabinet.mssante.fr", type=BalType.ORG, finess="750000012"))
    assert [bal.address for bal in store.read_now(list_bals, BalType.ORG)] == ["secretariat@cabinet.mssante.fr"]
    assert len(store.read_now(list_bals)) == 2


def test_password_and_quota(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    store.write_now(set_password_hash, bal_id, "hash")
    store.write_now(set_quota, bal_id, 0)
    bal = store.read_now(get_bal, bal_id)
    assert bal is not None
    assert (bal.password_hash, bal.quota_bytes, bal.full) == ("hash", 0, True)
    with pytest.raises(NotFound):
        store.write_now(set_password_hash, 10_000, "hash")


async def test_each_change_is_hinted(store: Store) -> None:
    bal_id, other = await store.write(
        create_bals, [NewBal(address=f"{name}@cabinet.mssante.fr", type=BalType.PER) for name in "ab"]
    )
    heard: list[str] = []
    store.hints.subscribe("bal", bal_id, lambda: heard.append("bal"))
    store.hints.subscribe("accounts", None, lambda: heard.append("accounts"))
    await store.write(set_state, bal_id, BalState.SUSPENDED, "signalement")
    assert heard == ["bal", "accounts"]
    await store.write(set_password_hash, other, "x")
    assert heard == ["bal", "accounts", "accounts"]


def test_delegations(store: Store) -> None:
    shared, holder = make_bals(store, "shared", "holder")
    store.write_now(delegate, shared, "holder@cabinet.mssante.fr", "send")
    store.write_now(delegate, shared, "holder@cabinet.mssante.fr", "send")
    store.write_now(delegate, shared, "810001234567", "read")
    assert [(one.delegate, one.right) for one in store.read_now(delegations, shared)] == [
        ("810001234567", "read"),
        ("holder@cabinet.mssante.fr", "send"),
    ]
    assert store.read_now(delegations, holder) == []
    assert [(one.bal_id, one.right) for one in store.read_now(lent_to, holder)] == [(shared, "send")]
    assert store.read_now(lent_to, shared) == []
    assert store.read_now(delegates, "holder@cabinet.mssante.fr") == [holder]
    store.write_now(withdraw, shared, "810001234567", "read")
    assert len(store.read_now(delegations, shared)) == 1
