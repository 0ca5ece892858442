"""Reports that arrive for our mail: in the mailbox as they came, and in the delivery journal."""

import pytest

from mssante.mime.reports import Report, Told
from mssante.services.arrival import Stored
from mssante.services.delivery_journal import Line, lines_of
from mssante.services.reports import record_report
from mssante.store import Conn
from mssante.store.queue import of_accepted, record_sent
from tests.mssante.mime.test_reports import ORIGINAL, PLAIN, POSTFIX, READ, A
from tests.mssante.services.conftest import COLLEAGUE, DOCTOR, SECRETARY, Cabinet

TO = COLLEAGUE


async def sent(cabinet: Cabinet, *to: str, message_id: str = ORIGINAL) -> str:
    """The identifier of a message of DOCTOR that its peer took."""
    head = f"From: <{DOCTOR}>\r\nSubject: x\r\nMessage-ID: {message_id}\r\n\r\nx\r\n"
    stored = await cabinet.send(await cabinet.signed_in(), DOCTOR, to or [TO], head.encode())
    assert isinstance(stored, Stored)
    cabinet.store.write_now(
        lambda tx: record_sent(tx, [item.id for item in of_accepted(tx.conn, stored.id)], "250 2.0.0 ok")
    )
    return stored.id


async def arrives(cabinet: Cabinet, report: tuple[bytes, bytes], to: str = DOCTOR) -> bytes:
    """The report, about `TO`, comes from the colleague's operator; its octets."""
    header, body = report
    octets = (b"From: <" + TO.encode() + b">\r\n" + header + body).replace(A.encode(), TO.encode())
    octets = octets.replace(b"From: MAILER-DAEMON@hopital.example (Mail Delivery System)\r\n", b"")
    assert isinstance(await cabinet.send(cabinet.colleague, "", [to], octets), Stored)
    return octets


def line(cabinet: Cabinet, accepted: str) -> Line:
    def found(conn: Conn) -> Line:
        return lines_of(conn, accepted)[1][0]

    return cabinet.store.read_now(found)


@pytest.mark.parametrize(
    ("report", "outcome", "status"),
    [(POSTFIX, "failed", "5.1.1"), (READ, "read", ""), (PLAIN, "failed", "")],
    ids=["RFC 3464", "RFC 8098", "plain words"],
)
async def test_a_report_is_recorded_and_delivered_as_it_is(
    cabinet: Cabinet, report: tuple[bytes, bytes], outcome: str, status: str
) -> None:
    accepted = await sent(cabinet)
    assert line(cabinet, accepted).outcome == "sent"
    octets = await arrives(cabinet, report)
    told = line(cabinet, accepted)
    assert told.outcome == outcome
    assert [(event.what, event.status) for event in told.history] == [("accepted", ""), (f"reported {outcome}", status)]
    assert told.history[1].peer == cabinet.colleague.name
    (read,) = cabinet.inbox(DOCTOR)
    assert read.endswith(octets)


async def test_a_report_to_somebody_else_tells_nothing(cabinet: Cabinet) -> None:
    accepted = await sent(cabinet)
    await arrives(cabinet, POSTFIX, SECRETARY)
    assert line(cabinet, accepted).outcome == "sent"


async def test_a_report_of_an_unknown_message_tells_nothing(cabinet: Cabinet) -> None:
    accepted = await sent(cabinet, message_id="<another@cabinet.mssante.example>")
    await arrives(cabinet, POSTFIX)
    assert line(cabinet, accepted).outcome == "sent"


async def test_a_message_that_came_without_message_id_is_known_by_ours(cabinet: Cabinet) -> None:
    accepted = await sent(cabinet)
    report = Report("", (f"<{accepted}@mx.cabinet.mssante.example>",), (Told(frozenset({TO}), "failed", "5.0.0"),))
    assert cabinet.store.write_now(lambda tx: record_report(tx, report, DOCTOR, peer="essai")) == 1
    assert line(cabinet, accepted).outcome == "failed"
    assert cabinet.store.write_now(lambda tx: record_report(tx, report, SECRETARY, peer="essai")) == 0
