"""Forty means forty, however the message is split; what looks like mass mail comes before the regulator."""

import re

import pytest

from mssante.domain.address import parse_address
from mssante.domain.bal import BalType
from mssante.domain.mass import Limits
from mssante.domain.verdict import Accept, Refuse, Rule
from mssante.services import regulateur
from mssante.services.arrival import Stored
from mssante.services.passwords import Passwords
from mssante.store.accounts import NewBal, create_bal
from mssante.store.regulateur import Kind, signalements
from tests.mssante.services.conftest import CABINET, CHEAP, CLINIQUE, COLLEAGUE, DOCTOR, PASSWORD, SECRETARY, Cabinet
from tests.support.xdm import attached

TEXT = "Chers confreres, venez nombreux a notre soiree de presentation, le jeudi 12 a vingt heures.\r\n"


def people(first: int, last: int) -> list[str]:
    return [f"p{number}@{CLINIQUE}" for number in range(first, last)]


def saying(text: str = TEXT, sender: str = DOCTOR, message_id: str = "<1@cabinet>") -> bytes:
    return f"From: <{sender}>\r\nMessage-ID: {message_id}\r\nSubject: {message_id}\r\n\r\n{text}".encode()


def reported(cabinet: Cabinet) -> list[tuple[str, Kind]]:
    return [(one.about, one.kind) for one in cabinet.store.read_now(signalements)]


async def test_one_text_over_messages_and_sessions(cabinet: Cabinet) -> None:
    for number, (first, last) in enumerate(((0, 20), (10, 30), (30, 40))):
        caller = await cabinet.signed_in()
        message = saying(message_id=f"<{number}@cabinet>")
        assert isinstance(await cabinet.send(caller, DOCTOR, people(first, last), message), Stored)
    refused = await cabinet.send(caller, DOCTOR, [*people(0, 5), SECRETARY], saying(message_id="<9@cabinet>"))
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.RECIPIENTS_SPLIT
    assert cabinet.inbox(SECRETARY) == []
    assert reported(cabinet) == [(DOCTOR, Kind.SPLIT)]
    # the refused one counted nothing; known recipients and other texts go on, and one day later it is another matter
    assert isinstance(await cabinet.send(caller, DOCTOR, people(0, 40), saying()), Stored)
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], saying(TEXT + "Bien a vous.\r\n")), Stored)
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], saying()), Refuse)
    assert reported(cabinet) == [(DOCTOR, Kind.SPLIT)]
    cabinet.clock.advance(24 * 3600)
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], saying()), Stored)


@pytest.mark.parametrize("other", [TEXT + "\r\n", TEXT.replace(" ", "  "), " " + TEXT, TEXT.replace(" ", "\r\n", 1)])
async def test_white_space_makes_no_other_text(cabinet: Cabinet, other: str) -> None:
    caller = await cabinet.signed_in()
    assert isinstance(await cabinet.send(caller, DOCTOR, people(0, 40), saying()), Stored)
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], saying(other)), Refuse)


async def test_boundaries_and_part_headers_make_no_other_text(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    message = attached(DOCTOR, "x:;", ("a.pdf", "application/pdf", bytes(range(256)) * 40), text=TEXT)
    assert isinstance(await cabinet.send(caller, DOCTOR, people(0, 40), message), Stored)
    again = re.sub(rb'--b|"b"', lambda found: found[0].replace(b"b", b"=_other.boundary"), message)
    again = again.replace(b"Content-Disposition: attachment", b"Content-ID: <2@x>\r\nContent-Disposition: attachment")
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], again, piece=700), Refuse)
    other = message.replace(b'filename="a.pdf"\r\n\r\nA', b'filename="a.pdf"\r\n\r\nB')
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], other), Stored)


@pytest.mark.parametrize(
    ("field", "text", "together"),
    [("X: y", "Merci !\r\n", 40), ("In-Reply-To: <a@b>", TEXT, 1), ("Subject: [FIN]", "<html>" + " " * 500, 40)],
)
async def test_what_says_the_same_to_everybody(cabinet: Cabinet, field: str, text: str, together: int) -> None:
    cabinet.intake.watch.limits = Limits(same_text=40 if together > 1 else 1)
    caller = await cabinet.signed_in()
    message = saying(text).replace(b"Subject:", f"{field}\r\nX-Subject:".encode())
    for first in (0, 40):
        assert isinstance(await cabinet.send(caller, DOCTOR, people(first, first + together), message), Stored)


async def test_an_answer_to_many_is_counted(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    message = saying().replace(b"Subject:", b"In-Reply-To: <a@b>\r\nSubject:")
    assert isinstance(await cabinet.send(caller, DOCTOR, people(0, 40), message), Stored)
    assert isinstance(await cabinet.send(caller, DOCTOR, people(40, 42), message), Refuse)


async def test_an_exception_lifts_the_limit_until_its_end(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    until_us = cabinet.clock.now_us() + 3_600_000_000
    assert isinstance(await cabinet.send(caller, DOCTOR, people(0, 40), saying()), Stored)
    await cabinet.store.write(regulateur.allow, parse_address(DOCTOR), 60, until_us, "alerte sanitaire", "regulateur:a")
    transaction = await cabinet.open(caller, DOCTOR)
    for number in range(60):
        assert isinstance(
            await cabinet.reception.recipient(transaction, parse_address(f"p{number}@{CLINIQUE}")), Accept
        )
    assert isinstance(await cabinet.reception.recipient(transaction, parse_address(SECRETARY)), Refuse)
    assert isinstance(await cabinet.send(caller, DOCTOR, people(0, 60), saying()), Stored)
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], saying()), Refuse)
    cabinet.clock.advance(3600)
    assert isinstance(await cabinet.send(caller, DOCTOR, people(0, 41), saying()), Refuse)
    assert isinstance(await cabinet.send(caller, DOCTOR, people(60, 61), saying()), Refuse)


async def test_an_applicative_mailbox_has_its_own_limit(cabinet: Cabinet) -> None:
    address, passwords = f"labo@{CABINET}", Passwords(CHEAP)
    new = NewBal(address=address, type=BalType.APP, password_hash=passwords.hash(PASSWORD))
    passwords.close()
    await cabinet.store.write(create_bal, new)
    cabinet.intake.watch.limits = Limits(same_text_app=50)
    caller = await cabinet.signed_in(address)
    message = saying(sender=address)
    assert isinstance(await cabinet.send(caller, address, people(0, 40), message), Stored)
    assert isinstance(await cabinet.send(caller, address, people(40, 50), message), Stored)
    assert isinstance(await cabinet.send(caller, address, people(50, 51), message), Refuse)


async def test_another_operators_user_is_reported_and_not_refused(cabinet: Cabinet) -> None:
    cabinet.intake.watch.limits = Limits(same_text=1)
    for to in (DOCTOR, SECRETARY):
        assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [to], saying(sender=COLLEAGUE)), Stored)
    assert reported(cabinet) == [(COLLEAGUE, Kind.SPLIT)]


@pytest.mark.parametrize(("past", "found"), [(0, [(DOCTOR, Kind.MASS)]), (10, [])])
async def test_a_day_unlike_the_others_is_reported(cabinet: Cabinet, past: int, found: list[object]) -> None:
    watch = cabinet.intake.watch
    watch.limits = Limits(novel=30, novel_factor=4)
    caller = await cabinet.signed_in()
    for day in range(3 if past else 0):
        to = people(1000 + day * past, 1000 + (day + 1) * past)
        assert isinstance(await cabinet.send(caller, DOCTOR, to, saying(f"Bonjour {day}")), Stored)
        await watch.flush()
        cabinet.clock.advance(86_400)
    for number in range(3):
        to = people(number * 10, number * 10 + 10)
        assert isinstance(await cabinet.send(caller, DOCTOR, to, saying(f"Bonjour {number}")), Stored)
    await watch.flush()
    assert reported(cabinet) == found
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], saying("Bonjour")), Stored)
    await watch.close()
    assert reported(cabinet) == found


async def test_a_store_that_is_away_costs_no_mail(cabinet: Cabinet) -> None:
    watch = cabinet.intake.watch
    caller = await cabinet.signed_in()
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY], saying()), Stored)
    cabinet.store.close()
    await watch.flush()
    await watch.close()
