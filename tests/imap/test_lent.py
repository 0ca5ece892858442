"""A mailbox that is lent, as real clients see it, and what the journal says afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import imapclient
import pytest
from imapclient.imapclient import FLAGGED, SEEN

from mssante.domain.address import parse_address
from mssante.services.annotations import MAX_VALUE
from mssante.services.bals import give_right, take_right_back
from mssante.store import journal
from mssante.store.accounts import set_quota
from mssante.store.folders import create_folder
from tests.imap.made import ALICE, BOB, PASSWORD, Line, Operator, letter
from tests.imap.test_clients import run
from tests.support.debian import require

HERS = f"Partagées/{ALICE}"


async def lend(operator: Operator, right: str) -> None:
    await operator.store.write(give_right, parse_address(ALICE), BOB, right, "essai")


def bob(operator: Operator) -> imapclient.IMAPClient:
    client = imapclient.IMAPClient("localhost", operator.tls, ssl_context=operator.pki.client())
    client.login(BOB, PASSWORD)
    return client


async def test_imapclient_works_in_a_mailbox_that_is_lent(operator: Operator) -> None:
    for number in (1, 2, 3):
        await operator.deliver(letter(number), ALICE)
    await lend(operator, "write")

    def work() -> None:
        with bob(operator) as client:
            assert b"ACL" in client.capabilities()
            assert client.namespace().other == (("Partagées/", "/"),)
            assert f"{HERS}/INBOX" in {name for _, _, name in client.list_folders()}
            assert f"{HERS}/INBOX" in {name for _, _, name in client.list_sub_folders()}
            assert client.select_folder(f"{HERS}/INBOX")[b"READ-WRITE"]
            client.add_flags([1], [SEEN, FLAGGED])
            client.move([2], f"{HERS}/Archives")
            client.copy([1], "INBOX")
            client.delete_messages([3])
            client.expunge()
            assert client.search() == [1]
            client.append(f"{HERS}/INBOX", letter(9))
            client.create_folder(f"{HERS}/Dossiers")
            client.rename_folder(f"{HERS}/Dossiers", f"{HERS}/Classés")
            client.delete_folder(f"{HERS}/Classés")
            client.select_folder("INBOX")
            client.move([1], f"{HERS}/Archives")

    await asyncio.to_thread(work)
    hers = operator.mailboxes.account(operator.bals[ALICE], ALICE)
    assert [(await hers.folder(name)).messages for name in ("INBOX", "Archives")] == [2, 2]
    lines = await operator.store.read(journal.entries)
    told = [(one.action.removeprefix("mail."), one.object) for one in lines if one.actor == BOB]
    assert told == [
        ("opened", ALICE),
        ("flagged", ALICE),
        ("moved", ALICE),
        ("copied", ALICE),
        ("copied", BOB),
        ("flagged", ALICE),
        ("expunged", ALICE),
        ("appended", ALICE),
        ("folder_created", ALICE),
        ("folder_renamed", ALICE),
        ("folder_deleted", ALICE),
        ("moved", BOB),
        ("moved", ALICE),
    ]
    assert await operator.store.read(journal.verify_chain) is None


async def test_a_right_taken_back_ends_idle(operator: Operator, connect: Callable[[], Awaitable[Line]]) -> None:
    await lend(operator, "write")
    line = await connect()
    await line.sign_in(BOB)
    await line.command(f"SELECT Partag&AOk-es/{ALICE}/INBOX")
    await line.send(b"i IDLE\r\n")
    assert await line.line() == b"+ idling"
    await operator.store.write(take_right_back, parse_address(ALICE), BOB, "write", "essai")
    assert (await line.line()).startswith(b"* BYE [NOPERM] Vos droits")
    assert await line.line() == b""


async def test_what_was_opened_before_asks_again_before_it_writes(operator: Operator) -> None:
    await operator.deliver(letter(1), ALICE)
    await lend(operator, "write")
    own = operator.mailboxes.account(operator.bals[BOB], BOB)
    mail, name = await own.at(f"{HERS}/INBOX", "w")
    opened = await mail.open(name, read_only=False)
    await operator.store.write(take_right_back, parse_address(ALICE), BOB, "write", "essai")
    for change in (
        mail.store_flags(opened.folder.id, [1], "+", 1),
        mail.expunge(opened.folder.id, [1]),
        mail.copy(opened.folder.id, [1], "INBOX", into=own),
        own.copy(opened.folder.id, [1], "Archives", into=mail),
        mail.create("Ailleurs"),
        mail.rename("Archives", "Ailleurs"),
        mail.delete("Archives"),
        mail.annotate(opened.folder, {"/shared/comment": b"x"}, "rw"),
    ):
        with pytest.raises(Exception, match="n'existe pas"):
            await change
    assert (await operator.mailboxes.account(operator.bals[ALICE], ALICE).folder("INBOX")).unseen == 1


async def test_the_quota_is_that_of_who_keeps_the_message(
    operator: Operator, connect: Callable[[], Awaitable[Line]]
) -> None:
    await operator.store.write(set_quota, operator.bals[ALICE], 2048)
    await lend(operator, "write")
    line = await connect()
    await line.sign_in(BOB)
    root = "Partag&AOk-es/" + ALICE
    assert await line.command(f"GETQUOTAROOT {root}/INBOX") == [
        f'* QUOTAROOT {root}/INBOX "{ALICE}"'.encode(),
        f'* QUOTA "{ALICE}" (STORAGE 0 2)'.encode(),
        b"t2 OK GETQUOTAROOT completed",
    ]
    assert (await line.command(f"GETQUOTA {ALICE}"))[0] == f'* QUOTA "{ALICE}" (STORAGE 0 2)'.encode()
    assert (await line.command('GETQUOTA ""'))[-1].startswith(b"t4 NO [NONEXISTENT]")
    whole = letter(1, "x" * 3000)
    refused = await line.command(f"APPEND {root}/INBOX {{{len(whole)}+}}\r\n".encode() + whole)
    assert refused[-1].startswith(b"t5 NO [OVERQUOTA]")
    assert b" OK " in (await line.command(b"APPEND INBOX {%d+}\r\n" % len(whole) + whole))[-1]
    await line.command("SELECT INBOX")
    assert (await line.command(f"MOVE 1 {root}/INBOX"))[-1].startswith(b"t8 NO [OVERQUOTA]")


async def test_a_folder_of_that_name_brought_along_stays_within_reach(operator: Operator, alice: Line) -> None:
    await operator.store.write(create_folder, operator.bals[ALICE], "Partagées/anciens")
    assert (await alice.command("CREATE Partag&AOk-es/autres"))[-1].startswith(b"t2 NO [NONEXISTENT]")
    assert (await alice.command("RENAME Partag&AOk-es/anciens Anciens"))[-1] == b"t3 OK RENAME completed"
    assert (await alice.command("RENAME Anciens Partag&AOk-es/anciens"))[-1].startswith(b"t4 NO [NONEXISTENT]")


async def test_a_note_has_a_limit(alice: Line) -> None:
    fits, over = (
        b"SETMETADATA INBOX (/private/comment {%d+}\r\n%b)" % (n, b"x" * n) for n in (MAX_VALUE, MAX_VALUE + 1)
    )
    assert b" OK " in (await alice.command(fits))[-1]
    assert b"NO [METADATA MAXSIZE 16384]" in (await alice.command(over))[-1]
    names = " ".join(f'/private/vendor/essai/{number} "a"' for number in range(100))
    assert b"NO [METADATA TOOMANY]" in (await alice.command(f"SETMETADATA INBOX ({names})"))[-1]
    assert len(await alice.command("GETMETADATA (DEPTH infinity) INBOX /private/vendor")) == 1


async def test_mbsync_brings_a_mailbox_that_may_be_read(operator: Operator, tmp_path: Path) -> None:
    mbsync = require("isync", "mbsync")
    for number in range(1, 4):
        await operator.deliver(letter(number), ALICE)
    await lend(operator, "read")
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "mbsyncrc").write_text(
        f"""
IMAPAccount bal
Host localhost
Port {operator.tls}
User {BOB}
PassCmd "cat {tmp_path}/password"
SSLType IMAPS
CertificateFile {operator.pki.roots}

IMAPStore loin
Account bal

MaildirStore ici
Path {tmp_path}/mail/
Inbox {tmp_path}/mail/INBOX
SubFolders Verbatim

Channel tout
Far :loin:
Near :ici:
Patterns *
Create Near
Sync Pull
"""
    )
    (tmp_path / "mail").mkdir()
    for _ in range(2):
        status, said = await run(mbsync, "-c", str(tmp_path / "mbsyncrc"), "-a", home=tmp_path)
        assert status == 0, said
        [inbox] = (tmp_path / "mail").glob(f"Partag*/{ALICE}/INBOX")
        assert len([*inbox.glob("new/*"), *inbox.glob("cur/*")]) == 3
    hers = await operator.mailboxes.account(operator.bals[ALICE], ALICE).folder("INBOX")
    assert (hers.messages, hers.unseen, hers.highestmodseq) == (3, 3, 4)
