"""`bal load`: an old mailbox comes along, whole."""

import os
import zipfile
from pathlib import Path

from mssante.cli.frame import open_store
from mssante.domain.flags import ANSWERED, FLAGGED, SEEN
from mssante.store import Conn
from mssante.store.accounts import find_bal
from mssante.store.mail import folders, rows
from mssante.store.verify import verify
from tests.mssante.cli.conftest import Operator

ADDRESS = "claire@cabinet.test"


def open_bal(operator: Operator) -> None:
    opened = operator("bal", "create", ADDRESS, "--type", "ORG", "--finess", "750000002", "--nom", "Cabinet")
    assert opened.code == 0, opened.err


def held(operator: Operator) -> dict[str, list[tuple[bytes, int, int]]]:
    """Folder → (octets, flags, received in seconds) of each message."""
    with open_store(operator.settings) as store:

        def read(conn: Conn) -> dict[str, list[tuple[bytes, int, int]]]:
            bal = find_bal(conn, ADDRESS)
            assert bal is not None
            return {
                folder.name: [
                    (store.contents.read(row.content), row.flags, row.internal_us // 1_000_000)
                    for row in rows(conn, folder.id, range(1, folder.uidnext))
                ]
                for folder in folders(conn, bal.id)
                if folder.messages
            }

        found = store.read_now(read)
        assert verify(store).faults == []
        return found


def test_nothing_is_brought_into_a_closed_mailbox(operator: Operator, tmp_path: Path) -> None:
    open_bal(operator)
    operator("bal", "close", ADDRESS, "--motif", "départ")
    mbox = tmp_path / "vieux.mbox"
    mbox.write_bytes(b"From x Mon Nov  3 09:00:00 2025\nSubject: un\n\nlu\n")
    fetch = ("fetch", ADDRESS, "--from", "imaps://anne@127.0.0.1:1", "--password-stdin")
    for arguments in (("load", ADDRESS, "--from", str(mbox)), fetch):
        ended = operator("bal", *arguments, given="secret")
        assert (ended.code, ended.lines) == (1, [f"mssante: {ADDRESS} is closed: nothing is brought into it"])


def test_a_maildir_with_its_subfolders(operator: Operator, tmp_path: Path) -> None:
    open_bal(operator)
    maildir = tmp_path / "Maildir"
    for place, name, octets in (
        ("cur", "1.a:2,SR", b"Subject: un\n\nlu\n"),
        ("new", "2.b", b"Subject: deux\r\n\r\nnouveau\r\n"),
        (".R&AOk-sultats.2025/cur", "3.c:2,F", b"Subject: trois\n\n" + b"x" * 300_000 + b"\n"),
    ):
        (maildir / place).mkdir(parents=True, exist_ok=True)
        (maildir / place / name).write_bytes(octets)
        os.utime(maildir / place / name, (1_700_000_000, 1_700_000_000))
    ended = operator("bal", "load", ADDRESS, "--from", str(maildir))
    assert (ended.code, ended.out) == (0, "INBOX: 2 messages\nRésultats/2025: 1 messages\n")
    assert held(operator) == {
        "INBOX": [
            (b"Subject: un\r\n\r\nlu\r\n", SEEN | ANSWERED, 1_700_000_000),
            (b"Subject: deux\r\n\r\nnouveau\r\n", 0, 1_700_000_000),
        ],
        "Résultats/2025": [(b"Subject: trois\r\n\r\n" + b"x" * 300_000 + b"\r\n", FLAGGED, 1_700_000_000)],
    }


def test_an_mbox(operator: Operator, tmp_path: Path) -> None:
    open_bal(operator)
    mbox = tmp_path / "mbox"
    mbox.write_bytes(
        b"From paul@clinique.example Mon Nov  3 09:00:00 2025\nSubject: un\nStatus: RO\n\n>From ici\n\n"
        b"From paul@clinique.example nulle date\nSubject: deux\nDate: Mon, 3 Nov 2025 10:00:00 +0100\n\nfin\n"
    )
    assert operator("bal", "load", ADDRESS, "--from", str(mbox)).code == 0
    assert held(operator) == {
        "INBOX": [
            (b"Subject: un\r\nStatus: RO\r\n\r\nFrom ici\r\n", SEEN, 1_762_160_400),
            (b"Subject: deux\r\nDate: Mon, 3 Nov 2025 10:00:00 +0100\r\n\r\nfin\r\n", 0, 1_762_160_400),
        ]
    }


def test_what_is_no_archive_is_told_so(operator: Operator, tmp_path: Path) -> None:
    open_bal(operator)
    (tmp_path / "lettre.txt").write_text("Bonjour\n")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as export:
        export.writestr("INBOX.mbox", "\nFrom a@b Mon Nov  3 09:00:00 2025\nSubject: un\n\nfin\n\n" * 2)
    for source in (tmp_path / "absent", tmp_path / "lettre.txt", tmp_path / "export.zip", tmp_path):
        ended = operator("bal", "load", ADDRESS, "--from", str(source))
        assert ended.code == 2
        assert len(ended.lines) == 1
        assert str(source) in ended.lines[0]
    assert operator("bal", "load", f"x{ADDRESS}", "--from", str(tmp_path)).code == 1
    assert held(operator) == {}
