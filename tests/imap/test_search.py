"""SEARCH in real mail: charsets, encodings, messages within messages, dates with zones."""

import pytest

from tests.imap.made import ALICE, Line, Operator, letter
from tests.imap.mails import MULTIPART, NESTED

LATE = (
    b"From: x@clinique.test\r\nSubject: tard\r\nDate: Sun, 2 Nov 2025 23:30:00 -0500\r\n\r\n"
    b"Une ligne\r\nplus long que tout: " + b"a" * 70_000 + b" FIN-DU-TEXTE\r\n"
)
LATIN = (
    b"From: x@clinique.test\r\nSubject: =?iso-8859-1?q?=E9t=E9?= =?iso-8859-1?q?_2025?=\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nD\xe9j\xe0 vu\r\n"
)
MAILS = [MULTIPART, NESTED, LATE, LATIN]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ('BODY "été reçu aux URGENCES"', "1"),
        ('BODY "le patient a ete"', "1"),
        ('BODY "<p>le"', ""),
        ("BODY DEJA", "4"),
        ('BODY "JVBERi"', ""),
        ('TEXT "compte rendu d\'urgence"', "1"),
        ('SUBJECT "compte rendu d\'urgence"', "1"),
        ("BODY beta", "2"),
        ("SUBJECT dedans", "2"),
        ("BODY dedans", ""),
        ('BODY "fin-du-texte"', "3"),
        ('BODY "déjà"', "4"),
        ('SUBJECT "été 2025"', "4"),
        ("SENTON 2-Nov-2025", "3"),
        ("SENTSINCE 3-Nov-2025", "1 2"),
        ("SENTBEFORE 3-Nov-2025", "3"),
        ("NOT SENTSINCE 1-Jan-2000", "4"),
        ("LARGER 70000", "3"),
        ("FROM bob.petit@CABINET.test", "2"),
        ("TO alice OR BODY beta BODY inconnu", "2"),
        ("HEADER Received mx.cabinet.test", "1 2 3 4"),
        ("TEXT mx.cabinet.test", "1 2 3 4"),
        ("BODY mx.cabinet.test", ""),
        ('BODY ""', "1 2 3 4"),
    ],
)
async def test_find(keys: str, found: str, operator: Operator, alice: Line) -> None:
    for message in MAILS:
        await operator.deliver(message, ALICE)
    await alice.command("SELECT INBOX")
    lines = await alice.command(f"SEARCH CHARSET UTF-8 {keys}")
    assert lines == [f"* SEARCH {found}".strip().encode(), lines[-1]]
    assert b" OK " in lines[-1]


async def test_search_sees_what_arrived_meanwhile(operator: Operator, alice: Line) -> None:
    await alice.command("SELECT INBOX")
    await operator.deliver(letter(1), ALICE)
    assert await alice.command("SEARCH SUBJECT rendu") == [
        b"* 1 EXISTS",
        b"* 1 RECENT",
        b"* SEARCH 1",
        b"t3 OK SEARCH completed",
    ]
