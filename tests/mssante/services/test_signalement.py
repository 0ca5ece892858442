"""Reporting abuse: by keyword, by the Indésirables, by forwarding; who is meant, and what does not count."""

import pytest

from mssante.domain.verdict import Refuse, Rule
from mssante.services.arrival import Stored
from mssante.services.mailboxes import Account, Mailboxes
from mssante.services.signalement import MOST_REFERENCE
from mssante.store import journal
from mssante.store.accounts import find_bal
from mssante.store.regulateur import Kind, names, signalements
from mssante.store.verify import verify
from tests.mssante.services.conftest import CABINET, COLLEAGUE, DOCTOR, PATIENT, PATIENTS, SECRETARY, Cabinet

MESSAGE = b"From: <%b>\r\nMessage-ID: <m1@x>\r\nSubject: Gagnez\r\n\r\nCliquez ici.\r\n"


def reported(cabinet: Cabinet) -> list[tuple[str, Kind, str]]:
    rows = cabinet.store.read_now(signalements)
    known = cabinet.store.read_now(names, [each for one in rows for each in (one.about, one.reporter)])
    return [(known.get(one.about, one.about), one.kind, known.get(one.reporter, one.reporter)) for one in rows]


def account(cabinet: Cabinet, address: str) -> Account:
    bal = cabinet.store.read_now(find_bal, address)
    assert bal is not None
    return Mailboxes(cabinet.store, cabinet.clock).account(bal.id, address)


async def arrived(cabinet: Cabinet, to: str = DOCTOR, sender: str = COLLEAGUE, times: int = 1) -> tuple[Account, int]:
    caller = cabinet.colleague if sender == COLLEAGUE else await cabinet.signed_in(sender)
    for _ in range(times):
        assert isinstance(await cabinet.send(caller, sender, [to], MESSAGE % sender.encode()), Stored)
    reader = account(cabinet, to)
    return reader, (await reader.folder("INBOX")).id


@pytest.mark.parametrize(
    ("keywords", "operation", "kind"),
    [
        (("$Junk",), "+", Kind.JUNK),
        (("$junk",), "=", Kind.JUNK),
        (("$Phishing", "$Junk"), "+", Kind.PHISHING),
        (("$Phishing",), "-", None),
        (("$NotJunk", "Junk"), "+", None),
    ],
)
async def test_by_keyword(cabinet: Cabinet, keywords: tuple[str, ...], operation: str, kind: Kind | None) -> None:
    reader, folder = await arrived(cabinet)
    for _ in range(2):
        await reader.store_flags(folder, [1], operation, 0, keywords)  # type: ignore[arg-type]
    assert reported(cabinet) == ([(COLLEAGUE, kind, DOCTOR)] if kind else [])


@pytest.mark.parametrize("move", [True, False])
async def test_by_the_junk_folder(cabinet: Cabinet, move: bool) -> None:
    reader, folder = await arrived(cabinet, times=3)
    await reader.copy(folder, [1, 3], "Archives", move=move)
    assert reported(cabinet) == []
    await reader.copy(folder, [2], "Indésirables", move=move)
    assert reported(cabinet) == [(COLLEAGUE, Kind.JUNK, DOCTOR)]


async def test_a_conditional_store_reports_what_it_changed(cabinet: Cabinet) -> None:
    reader, folder = await arrived(cabinet)
    await reader.store_unchanged(folder, [1], "+", 0, ("$Junk",), 1)
    assert reported(cabinet) == []
    await reader.store_unchanged(folder, [1], "+", 0, ("$Junk",), 1 << 40)
    assert reported(cabinet) == [(COLLEAGUE, Kind.JUNK, DOCTOR)]


async def test_a_citizen_reports_and_is_reported(cabinet: Cabinet) -> None:
    reader, folder = await arrived(cabinet, PATIENT, DOCTOR)
    await reader.store_flags(folder, [1], "+", 0, ("$Phishing",))
    answers, inbox = await arrived(cabinet, DOCTOR, PATIENT)
    await answers.store_flags(inbox, [1], "+", 0, ("$Junk",))
    assert reported(cabinet) == [(DOCTOR, Kind.PHISHING, PATIENT), (PATIENT, Kind.JUNK, DOCTOR)]
    assert PATIENT.partition("@")[0] not in repr(cabinet.store.read_now(journal.entries))


async def test_a_message_that_also_left_has_its_author(cabinet: Cabinet) -> None:
    """It has no Return-Path of ours: it was sent on as it is."""
    caller = await cabinet.signed_in()
    message = b'From: "Anne \\"E\\"" <%b>\r\nSubject: {3}\r\n\r\nBonjour.\r\n' % DOCTOR.encode()
    assert isinstance(await cabinet.send(caller, DOCTOR, [SECRETARY, COLLEAGUE], message), Stored)
    reader = account(cabinet, SECRETARY)
    await reader.store_flags((await reader.folder("INBOX")).id, [1], "+", 0, ("$Junk",))
    assert reported(cabinet) == [(DOCTOR, Kind.JUNK, SECRETARY)]


async def test_what_nobody_is_reported_for(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    assert isinstance(await cabinet.send(caller, DOCTOR, [DOCTOR], MESSAGE % DOCTOR.encode()), Stored)
    notice = b"From: <mailer@clinique.mssante.example>\r\n\r\nRemise.\r\n"
    assert isinstance(await cabinet.send(cabinet.colleague, "", [DOCTOR], notice), Stored)
    reader = account(cabinet, DOCTOR)
    await reader.store_flags((await reader.folder("INBOX")).id, [1, 2], "+", 0, ("$Junk",))
    assert reported(cabinet) == []


# --- signalement@

FORWARDED = (
    b'From: <%b>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nVoyez.\r\n'
    b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + MESSAGE + b"--b--\r\n"
)


@pytest.mark.parametrize("who", [DOCTOR, PATIENT])
@pytest.mark.parametrize("domain", [CABINET, PATIENTS])
async def test_by_forwarding(cabinet: Cabinet, who: str, domain: str) -> None:
    caller = await cabinet.signed_in(who)
    message = FORWARDED % (who.encode(), COLLEAGUE.encode())
    for _ in range(2):
        assert isinstance(await cabinet.send(caller, who, [f"Signalement@{domain}"], message), Stored)
    assert reported(cabinet) == [(COLLEAGUE, Kind.FORWARDED, who)]
    found = verify(cabinet.store)
    assert (found.messages, found.faults, found.orphans) == (0, [], 0)


@pytest.mark.parametrize(
    "quoted",
    [
        f"---- Message transféré ----\r\nSujet : Gagnez\r\nDe : Paul Exemple <{COLLEAGUE}>\r\nPour : x@y.fr\r\n",
        f"> From: {COLLEAGUE}\r\n> To: x@y.fr\r\n",
        f"*De :* Paul [{COLLEAGUE}]\r\n",
        f"Expéditeur: {COLLEAGUE}\r\n",
        pytest.param("\r\n> * " * 10_000 + f"> * De : {COLLEAGUE}\r\n", id="after many empty lines"),
    ],
)
async def test_by_forwarding_in_the_text(cabinet: Cabinet, quoted: str) -> None:
    message = (
        f"From: <{DOCTOR}>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nVoyez.\r\n\r\n{quoted}\r\nCliquez.\r\n"
    )
    caller = await cabinet.signed_in()
    assert isinstance(await cabinet.send(caller, DOCTOR, [f"signalement@{CABINET}"], message.encode()), Stored)
    assert reported(cabinet) == [(COLLEAGUE, Kind.FORWARDED, DOCTOR)]


async def test_a_report_without_a_message_is_refused(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    message = b"From: <%b>\r\n\r\nJe recois trop de courrier.\r\n" % DOCTOR.encode()
    refused = await cabinet.send(caller, DOCTOR, [f"signalement@{CABINET}"], message)
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.REPORT_WITHOUT_MESSAGE
    assert cabinet.store.read_now(signalements) == []


async def test_a_report_keeps_the_beginning_of_a_message_id(cabinet: Cabinet) -> None:
    """An index takes no more of it."""
    caller = await cabinet.signed_in()
    message = (FORWARDED % (DOCTOR.encode(), COLLEAGUE.encode())).replace(b"<m1@x>", b"<" + b"m" * 20_000 + b"@x>")
    assert isinstance(await cabinet.send(caller, DOCTOR, [f"signalement@{CABINET}"], message), Stored)
    [one] = cabinet.store.read_now(signalements)
    assert one.reference == "<" + "m" * (MOST_REFERENCE - 1)


async def test_a_report_with_others_in_copy_reaches_them(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    message = FORWARDED % (DOCTOR.encode(), COLLEAGUE.encode())
    assert isinstance(await cabinet.send(caller, DOCTOR, [f"signalement@{CABINET}", SECRETARY], message), Stored)
    assert len(cabinet.inbox(SECRETARY)) == 1
    assert reported(cabinet) == [(COLLEAGUE, Kind.FORWARDED, DOCTOR)]


async def test_who_is_not_signed_in_reports_nowhere(cabinet: Cabinet) -> None:
    message = FORWARDED % (COLLEAGUE.encode(), DOCTOR.encode())
    refused = await cabinet.send(cabinet.colleague, COLLEAGUE, [f"signalement@{CABINET}"], message)
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.RECIPIENT_UNKNOWN
