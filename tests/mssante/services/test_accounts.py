"""Signing in: right and wrong passwords, closed accounts, throttling, what is remembered."""

import asyncio

import pytest

from mssante.domain.address import Address, parse_address
from mssante.domain.bal import BalType
from mssante.domain.ins import ins_key
from mssante.domain.patient import Authority
from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.services import bals, credentials
from mssante.services.accounts import Accounts, SignedIn
from mssante.services.arrival import Stored
from mssante.services.bals import NotAllowed
from mssante.services.passwords import Passwords
from mssante.services.throttle import Throttle, ThrottleLimits
from mssante.store import Conn
from mssante.store.accounts import NewBal
from mssante.store.credentials import Kind
from mssante.store.folders import Folder, folders
from mssante.store.patients import Identity, NewPatient, change_matricule, create_patients, patient
from mssante.store.verify import verify
from tests.mssante.services.conftest import CABINET, CHEAP, DOCTOR, PASSWORD, PATIENTS, SECRETARY, Cabinet


async def test_the_holder_signs_in_by_his_address_in_any_case(cabinet: Cabinet) -> None:
    holder = await cabinet.accounts.sign_in(f" {DOCTOR.upper()} ", PASSWORD, peer="192.0.2.1")
    assert isinstance(holder, SignedIn)
    assert (holder.address, holder.bal_type, holder.addresses) == (DOCTOR, BalType.PER, frozenset({DOCTOR}))


async def test_wrong_password_unknown_address_and_nonsense_get_the_same_answer(cabinet: Cabinet) -> None:
    for login, password in [(DOCTOR, "x"), (f"personne@{CABINET}", PASSWORD), ("pas une adresse", PASSWORD), ("", "")]:
        refused = await cabinet.accounts.sign_in(login, password, peer="192.0.2.1")
        assert isinstance(refused, Refuse)
        assert refused.rule is Rule.AUTH_REFUSED


async def test_a_mailbox_without_password_opens_to_nobody(cabinet: Cabinet) -> None:
    await cabinet.store.write(bals.open_bals, [NewBal(address=f"vide@{CABINET}", type=BalType.PER)], "operateur")
    assert isinstance(await cabinet.accounts.sign_in(f"vide@{CABINET}", "", peer="192.0.2.1"), Refuse)


async def test_a_suspended_account_is_refused_even_with_a_remembered_password(cabinet: Cabinet) -> None:
    assert isinstance(await cabinet.accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1"), SignedIn)
    await cabinet.store.write(bals.suspend, parse_address(DOCTOR), "essai", "operateur")
    refused = await cabinet.accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1")
    assert isinstance(refused, Refuse)
    await cabinet.store.write(bals.reopen, parse_address(DOCTOR), "essai", "operateur")
    assert isinstance(await cabinet.accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1"), SignedIn)


async def test_a_changed_password_ends_the_old_one_at_once(cabinet: Cabinet) -> None:
    assert isinstance(await cabinet.accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1"), SignedIn)
    new = Passwords(CHEAP).hash("un autre")
    await cabinet.store.write(bals.change_password, parse_address(DOCTOR), new, "operateur")
    assert isinstance(await cabinet.accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1"), Refuse)
    assert isinstance(await cabinet.accounts.sign_in(DOCTOR, "un autre", peer="192.0.2.1"), SignedIn)


async def test_the_right_to_send_lends_an_address(cabinet: Cabinet) -> None:
    await cabinet.store.write(bals.give_right, parse_address(SECRETARY), DOCTOR, "send", "operateur")
    holder = await cabinet.accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1")
    assert isinstance(holder, SignedIn)
    assert holder.addresses == {DOCTOR, SECRETARY}


async def test_guessing_is_slowed_where_it_comes_from_and_the_holder_is_not_locked_out(cabinet: Cabinet) -> None:
    limits = ThrottleLimits(per_login=3, per_peer=100, window_us=60_000_000)
    accounts = Accounts(cabinet.store, Passwords(CHEAP), cabinet.clock, Throttle(limits))
    for _ in range(3):
        assert isinstance(await accounts.sign_in(DOCTOR, "x", peer="192.0.2.66"), Refuse)
    blocked = await accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.66")
    assert isinstance(blocked, Defer)
    assert blocked.rule is Rule.AUTH_TOO_MANY
    assert isinstance(await accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1"), SignedIn)
    cabinet.clock.advance(60)
    assert isinstance(await accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.66"), SignedIn)


async def test_guesses_that_come_at_once_are_counted_too(cabinet: Cabinet) -> None:
    limits = ThrottleLimits(per_login=3, per_peer=100, window_us=60_000_000)
    accounts = Accounts(cabinet.store, Passwords(CHEAP), cabinet.clock, Throttle(limits))
    guesses = [accounts.sign_in(DOCTOR, f"x{number}", peer="192.0.2.66") for number in range(30)]
    judged = [one for one in await asyncio.gather(*guesses) if isinstance(one, Refuse)]
    assert len(judged) <= limits.per_login + 1
    holders = [accounts.sign_in(SECRETARY, PASSWORD, peer="192.0.2.66") for _ in range(30)]
    assert all(isinstance(one, SignedIn) for one in await asyncio.gather(*holders))


def test_a_peer_that_tries_many_logins_is_slowed_too() -> None:
    throttle = Throttle(ThrottleLimits(per_login=100, per_peer=3, window_us=1_000))
    for number in range(3):
        throttle.failed("192.0.2.66", f"login{number}", 0)
    assert throttle.blocked("192.0.2.66", "another", 999)
    assert not throttle.blocked("192.0.2.1", "login0", 999)
    assert not throttle.blocked("192.0.2.66", "another", 1_000)


def test_a_success_forgets_the_failures_of_that_login() -> None:
    throttle = Throttle(ThrottleLimits(per_login=1))
    throttle.failed("192.0.2.1", "a", 0)
    throttle.succeeded("192.0.2.1", "a")
    assert not throttle.blocked("192.0.2.1", "a", 0)


async def test_a_password_that_was_right_before_is_not_stopped_by_its_neighbours(cabinet: Cabinet) -> None:
    """A whole hospital behind one address: others' failures, and an attack from inside, do not lock the holder out."""
    limits = ThrottleLimits(per_login=3, per_login_known=6, per_peer=5, window_us=60_000_000)
    accounts = Accounts(cabinet.store, Passwords(CHEAP), cabinet.clock, Throttle(limits))
    peer = "192.0.2.66"
    assert isinstance(await accounts.sign_in(DOCTOR, PASSWORD, peer=peer), SignedIn)
    for number in range(6):
        await accounts.sign_in(f"x{number}@{CABINET}", "x", peer=peer)
    assert isinstance(await accounts.sign_in(SECRETARY, PASSWORD, peer=peer), Defer)
    assert isinstance(await accounts.sign_in(DOCTOR, PASSWORD, peer=peer), SignedIn)


async def test_whoever_guesses_is_stopped_before_he_meets_a_known_password(cabinet: Cabinet) -> None:
    limits = ThrottleLimits(per_login=1, per_login_known=2, per_peer=100, window_us=60_000_000)
    throttle = Throttle(limits)
    accounts = Accounts(cabinet.store, Passwords(CHEAP), cabinet.clock, throttle)
    assert isinstance(await accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.66"), SignedIn)
    for _ in range(2):
        throttle.failed("192.0.2.66", DOCTOR, cabinet.clock.now_us())
    assert isinstance(await accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.66"), Defer)
    assert isinstance(await accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1"), SignedIn)


async def test_a_device_signs_in_until_it_is_revoked(cabinet: Cabinet) -> None:
    passwords, address = Passwords(CHEAP), parse_address(DOCTOR)
    for name in ("poste", "tablette"):
        secret = f"le secret: {name}"
        await cabinet.store.write(credentials.allow_device, address, name, secret, passwords.hash(secret), "operateur")
    holder = await cabinet.accounts.sign_in(DOCTOR, "le secret: poste", peer="192.0.2.1")
    assert isinstance(holder, SignedIn)
    assert holder.by == "password of the device poste"
    assert "argon2" not in repr(holder)
    await cabinet.store.write(credentials.revoke, address, Kind.DEVICE, "poste", "operateur")
    assert not await cabinet.accounts.may_stay(holder)
    assert isinstance(await cabinet.accounts.sign_in(DOCTOR, "le secret: poste", peer="192.0.2.1"), Refuse)
    assert isinstance(await cabinet.accounts.sign_in(DOCTOR, "le secret: tablette", peer="192.0.2.1"), SignedIn)
    for number in range(credentials.MOST_DEVICES - 1):
        await cabinet.store.write(credentials.allow_device, address, f"{number}", "x", "$argon2id$", "operateur")
    with pytest.raises(NotAllowed, match="revoke those"):
        await cabinet.store.write(credentials.allow_device, address, "un de trop", "x", "$argon2id$", "operateur")


async def test_a_device_signs_in_after_its_citizens_matricule_changed(cabinet: Cabinet) -> None:
    before, after = (f"{ins}{ins_key(ins):02}" for ins in ("1531245007231", "1531245007299"))
    old, new = (parse_address(f"{ins}@{PATIENTS}") for ins in (before, after))
    identity = Identity(ins=before, nom="EXEMPLE", prenoms="Omar", naissance="1953-12-01", sexe="M", lieu="45007")
    [bal_id] = await cabinet.store.write(create_patients, [NewPatient(old, identity)])
    hashed = Passwords(CHEAP).hash("le secret")
    await cabinet.store.write(credentials.allow_device, old, "poste", "le secret", hashed, "operateur")
    known = cabinet.store.read_now(patient, bal_id)
    assert known is not None
    await cabinet.store.write(change_matricule, known, new, Authority.NIR)
    for address in (old, new):
        assert isinstance(await cabinet.accounts.sign_in(str(address), "le secret", peer="192.0.2.1"), SignedIn)


async def test_a_session_ends_with_the_password_that_opened_it(cabinet: Cabinet) -> None:
    """Whichever process changes it: only the store is asked."""
    holder = await cabinet.accounts.sign_in(DOCTOR, PASSWORD, peer="192.0.2.1")
    assert isinstance(holder, SignedIn)
    assert await cabinet.accounts.may_stay(holder)
    await cabinet.store.write(bals.change_password, parse_address(DOCTOR), Passwords(CHEAP).hash("autre"), "operateur")
    assert not await cabinet.accounts.may_stay(holder)


async def test_a_purged_mailbox_holds_nothing_and_others_keep_their_copies(cabinet: Cabinet) -> None:
    sender = await cabinet.signed_in(SECRETARY)
    letter = b"From: " + SECRETARY.encode() + b"\r\nSubject: x\r\n\r\nBonjour.\r\n"
    stored = await cabinet.send(sender, SECRETARY, [DOCTOR, SECRETARY], letter)
    assert isinstance(stored, Stored)
    address = parse_address(DOCTOR)
    await cabinet.store.write(credentials.allow_device, address, "poste", "x", "$argon2id$", "operateur")
    await cabinet.store.write(bals.close, address, "départ", "operateur")
    await cabinet.store.write(bals.purge, address, "demande", "operateur")
    assert cabinet.store.read_now(folders_of, address) == []
    assert cabinet.store.read_now(credentials.openings, address) == []
    assert len(cabinet.inbox(SECRETARY)) == 1
    assert verify(cabinet.store).faults == []
    for step in (bals.reopen_by_regulator, bals.reopen, bals.purge):
        with pytest.raises(NotAllowed):
            await cabinet.store.write(step, address, "x", "regulateur:x")


def folders_of(conn: Conn, address: Address) -> list[Folder]:
    return folders(conn, bals.known_bal(conn, address).id)
