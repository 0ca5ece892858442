"""Real clients against a real server: imaplib, imapclient, aioimaplib, curl, mbsync, neomutt; with real mail."""

import asyncio
import email
import imaplib
import os
import re
import signal
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path

import aioimaplib
import imapclient
import pytest
from imapclient.imapclient import FLAGGED, RECENT, SENT

from tests.imap.made import ALICE, PASSWORD, PREPEND, Operator, letter
from tests.imap.mails import MULTIPART, NESTED
from tests.support.debian import require


async def run(*command: str, home: Path) -> tuple[int, str]:
    """Exit status and all that the program said."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm"}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=home,
        start_new_session=True,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 40)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode or 0, said.decode("utf-8", "replace")


# -- imaplib


async def test_imaplib(operator: Operator) -> None:
    await operator.deliver(letter(1), ALICE)
    await operator.deliver(MULTIPART, ALICE)
    await asyncio.to_thread(_imaplib, operator)


def _imaplib(operator: Operator) -> None:
    with imaplib.IMAP4("127.0.0.1", operator.starttls) as client:
        assert "LOGINDISABLED" in client.capabilities
        client.host = "localhost"
        client.starttls(operator.pki.client())
        client.login(ALICE, PASSWORD)
        assert client.select("INBOX") == ("OK", [b"2"])
        status, data = client.fetch("2", "(RFC822 UID FLAGS)")
        assert status == "OK"
        assert isinstance(data[0], tuple) and data[0][1] == PREPEND + MULTIPART
        status, data = client.fetch("2", "(BODYSTRUCTURE)")
        assert isinstance(data[0], bytes) and b'"application" "pdf"' in data[0]
        assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
        assert client.expunge() == ("OK", [b"1"])
        assert client.search(None, "SEEN") == ("OK", [b"1"])
        assert client.append("INBOX", "\\Seen", None, b"Subject: brouillon\r\n\r\ntexte\r\n")[0] == "OK"
        assert client.noop()[0] == "OK"
        assert client.untagged_responses["EXISTS"][-1] == b"2"
        assert client.create('"Dossier un"')[0] == "OK"
        assert client.copy("1:2", '"Dossier un"')[0] == "OK"
        assert client.status('"Dossier un"', "(MESSAGES)") == ("OK", [b'"Dossier un" (MESSAGES 2)'])
        with pytest.raises(imaplib.IMAP4.error):
            client.login(ALICE, PASSWORD)


async def test_imaplib_authenticates_by_plain(operator: Operator) -> None:
    def sign_in() -> None:
        with imaplib.IMAP4_SSL("localhost", operator.tls, ssl_context=operator.pki.client()) as client:
            reply = client.authenticate("PLAIN", lambda _: f"\0{ALICE}\0{PASSWORD}".encode())
            assert reply[0] == "OK"

    await asyncio.to_thread(sign_in)


# -- imapclient


async def test_imapclient(operator: Operator) -> None:
    for message in (letter(1), MULTIPART, NESTED):
        await operator.deliver(message, ALICE)
    await asyncio.to_thread(_imapclient, operator)


def _imapclient(operator: Operator) -> None:
    with imapclient.IMAPClient("localhost", operator.tls, ssl_context=operator.pki.client()) as client:
        client.login(ALICE, PASSWORD)
        assert client.folder_exists("Envoyés")
        assert client.find_special_folder(SENT) == "Envoyés"
        assert client.namespace().personal == (("", "/"),)
        selected = client.select_folder("INBOX")
        assert selected[b"EXISTS"] == 3 and selected[b"UIDNEXT"] == 4
        wanted = ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE", "FLAGS", "BODY.PEEK[]", "BODY.PEEK[TEXT]"]
        fetched = client.fetch([1, 2, 3], wanted)
        for uid, original in zip((1, 2, 3), (letter(1), MULTIPART, NESTED), strict=True):
            shown = fetched[uid]
            assert shown[b"BODY[]"] == PREPEND + original
            assert shown[b"RFC822.SIZE"] == len(PREPEND + original)
            assert shown[b"BODY[TEXT]"] == original.partition(b"\r\n\r\n")[2]
            assert shown[b"INTERNALDATE"].astimezone(UTC) == datetime.fromtimestamp(operator.clock.now_us() / 1e6, UTC)
            parsed = email.message_from_bytes(original)
            assert shown[b"ENVELOPE"].message_id.decode() == parsed["Message-ID"]
            _same_structure(parsed, shown[b"BODYSTRUCTURE"])
        assert client.search(["SUBJECT", "urgence"], "UTF-8") == [2]
        client.add_flags([1, 2], [FLAGGED, "$Label1"])
        assert set(client.get_flags([1])[1]) == {FLAGGED, b"$Label1", RECENT}
        client.move([1], "Corbeille")
        assert client.search() == [2, 3]
        with pytest.raises(imapclient.exceptions.IMAPClientError, match="TRYCREATE"):
            client.copy([2], "Ailleurs")
        client.create_folder("Été/2025")
        assert {name for _, _, name in client.list_folders("", "Été*")} == {"Été", "Été/2025"}
        client.idle()
        with imapclient.IMAPClient("localhost", operator.tls, ssl_context=operator.pki.client()) as other:
            other.login(ALICE, PASSWORD)
            other.append("INBOX", letter(9))
        assert (3, b"EXISTS") in client.idle_check(timeout=60)
        client.idle_done()


def _same_structure(parsed: Message, structure: imapclient.response_types.BodyData) -> None:
    """BODYSTRUCTURE as the standard library's parser sees the message."""
    if parsed.is_multipart() and parsed.get_content_maintype() == "multipart":
        assert structure.is_multipart
        children = parsed.get_payload()
        assert isinstance(children, list) and len(children) == len(structure[0])
        for child, shown in zip(children, structure[0], strict=True):
            assert isinstance(child, Message)
            _same_structure(child, shown)
    else:
        assert structure[0].decode().lower() == parsed.get_content_maintype()
        assert structure[1].decode().lower() == parsed.get_content_subtype()


async def test_every_section_is_what_the_message_says(operator: Operator) -> None:
    """BODY[n], BODY[n.MIME], BODY[n.HEADER], BODY[n.TEXT] and partials against offsets found by hand."""
    await operator.deliver(NESTED, ALICE)

    def fetch() -> None:
        with imapclient.IMAPClient("localhost", operator.tls, ssl_context=operator.pki.client()) as client:
            client.login(ALICE, PASSWORD)
            client.select_folder("INBOX")
            inner = NESTED.partition(b"Content-Type: message/rfc822\r\n\r\n")[2].partition(b"\r\n--outer--")[0]
            inner_header, _, inner_text = inner.partition(b"\r\n\r\n")
            expected = {
                "BODY.PEEK[1]": b"Voir le message joint.",
                "BODY.PEEK[1.MIME]": b"Content-Type: text/plain\r\n\r\n",
                "BODY.PEEK[2]": inner,
                "BODY.PEEK[2.MIME]": b"Content-Type: message/rfc822\r\n\r\n",
                "BODY.PEEK[2.HEADER]": inner_header + b"\r\n\r\n",
                "BODY.PEEK[2.TEXT]": inner_text,
                "BODY.PEEK[2.1]": b"alpha",
                "BODY.PEEK[2.2]": b"<p>beta</p>",
                "BODY.PEEK[2.2.MIME]": b"Content-Type: text/html\r\n\r\n",
                "BODY.PEEK[2.HEADER.FIELDS (subject)]": b"Subject: dedans\r\n\r\n",
                "BODY.PEEK[HEADER.FIELDS (Received)]": PREPEND + b"\r\n",
                "BODY.PEEK[HEADER.FIELDS.NOT (Received Content-Type)]": NESTED.partition(b"Content-Type")[0] + b"\r\n",
                "BODY.PEEK[]<10.20>": (PREPEND + NESTED)[10:30],
                f"BODY.PEEK[]<{len(PREPEND) - 3}.9>": PREPEND[-3:] + NESTED[:6],
                "BODY.PEEK[TEXT]<0.8>": NESTED.partition(b"\r\n\r\n")[2][:8],
                "BODY.PEEK[]<9999999.10>": b"",
                "BODY.PEEK[7]": None,
                "BODY.PEEK[1.HEADER]": None,
                "RFC822.HEADER": PREPEND + NESTED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
            }
            for item, octets in expected.items():
                [shown] = client.fetch([1], [item]).values()
                label = re.sub(r"<(\d+)\.\d+>", r"<\1>", item.replace(".PEEK", "")).upper().encode()
                assert shown[label] == octets, item

    await asyncio.to_thread(fetch)


# -- aioimaplib


async def test_aioimaplib(operator: Operator) -> None:
    await operator.deliver(letter(1), ALICE)
    client = aioimaplib.IMAP4_SSL("localhost", operator.tls, ssl_context=operator.pki.client())
    await client.wait_hello_from_server()
    assert (await client.login(ALICE, PASSWORD)).result == "OK"
    assert (await client.select("INBOX")).result == "OK"
    reply = await client.uid("fetch", "1:*", "(UID BODY.PEEK[])")
    assert PREPEND + letter(1) in [bytes(line) for line in reply.lines]
    idle = await client.idle_start(timeout=60)
    await operator.deliver(letter(2), ALICE)
    assert b"2 EXISTS" in await client.wait_server_push(60)
    client.idle_done()
    await asyncio.wait_for(idle, 60)
    assert (await client.append(letter(3), "INBOX", flags="\\Seen")).result == "OK"
    assert (await client.logout()).result == "OK"


# -- curl


async def test_curl(operator: Operator, tmp_path: Path) -> None:
    curl = require("curl", "curl")
    await operator.deliver(MULTIPART, ALICE)
    roots = ["--cacert", str(operator.pki.roots), "--user", f"{ALICE}:{PASSWORD}", "--silent", "--show-error"]
    implicit = f"imaps://localhost:{operator.tls}/INBOX"
    status, said = await run(curl, *roots, f"{implicit};UID=1", home=tmp_path)
    assert status == 0 and said.replace("\r\n", "\n").encode() == (PREPEND + MULTIPART).replace(b"\r\n", b"\n")
    upgraded = [f"imap://localhost:{operator.starttls}/INBOX?SUBJECT%20urgence", "--ssl-reqd"]
    assert await run(curl, *roots, *upgraded, home=tmp_path) == (0, "* SEARCH 1\r\n")
    (tmp_path / "letter").write_bytes(letter(5))
    upload = [implicit, "--upload-file", "letter"]
    assert (await run(curl, *roots, *upload, home=tmp_path))[0] == 0
    status, said = await run(curl, *roots, implicit, "--request", "EXAMINE INBOX", home=tmp_path)
    assert status == 0 and "* 2 EXISTS" in said
    wrong = ["--cacert", str(operator.pki.roots), "--user", f"{ALICE}:faux", "--silent", f"{implicit};UID=1"]
    assert (await run(curl, *wrong, home=tmp_path))[0] == 67


# -- mbsync


async def test_mbsync_twice_both_ways(operator: Operator, tmp_path: Path) -> None:
    """All mail comes down, local changes go up, and a second run finds nothing to do."""
    mbsync = require("isync", "mbsync")
    for number in range(1, 6):
        await operator.deliver(letter(number), ALICE)
    await operator.deliver(MULTIPART, ALICE)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "mbsyncrc").write_text(
        f"""
IMAPAccount bal
Host localhost
Port {operator.tls}
User {ALICE}
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
Create Both
Expunge Both
Sync All
CopyArrivalDate yes
"""
    )
    (tmp_path / "mail").mkdir()
    command = [mbsync, "-c", str(tmp_path / "mbsyncrc"), "-a"]
    status, said = await run(*command, home=tmp_path)
    assert status == 0, said
    inbox = tmp_path / "mail" / "INBOX"
    kept = {path.read_bytes() for path in (*inbox.glob("cur/*"), *inbox.glob("new/*"))}
    assert (PREPEND + MULTIPART).replace(b"\r\n", b"\n") in {re.sub(rb"X-TUID: .*\n", b"", octets) for octets in kept}
    assert len(kept) == 6
    assert (tmp_path / "mail" / "Envoyés").is_dir() or (tmp_path / "mail" / "Envoy&AOk-s").is_dir()

    first = sorted(inbox.glob("*/*"))[0]
    first.rename(inbox / "cur" / (first.name.partition(":")[0] + ":2,FS"))
    sorted(inbox.glob("new/*"))[-1].unlink()
    (inbox / "new" / "1700000000.1_1.ici").write_bytes(letter(77).replace(b"\r\n", b"\n"))
    status, said = await run(*command, home=tmp_path)
    assert status == 0, said
    account = operator.mailboxes.account(operator.bals[ALICE], ALICE)
    there = await account.folder("INBOX")
    assert (there.messages, there.unseen) == (6, 5)

    before = _tree(tmp_path / "mail"), there.highestmodseq
    status, said = await run(*command, home=tmp_path)
    assert status == 0, said
    assert before == (_tree(tmp_path / "mail"), (await account.folder("INBOX")).highestmodseq)


def _tree(path: Path) -> dict[str, bytes]:
    """Every message under a Maildir store, by name."""
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*/*:2*") if one.is_file()}


# -- neomutt


async def test_neomutt_reads_and_files_a_message(operator: Operator, tmp_path: Path) -> None:
    neomutt = require("neomutt", "neomutt")
    for number in (1, 2):
        await operator.deliver(letter(number), ALICE)
    (tmp_path / "neomuttrc").write_text(
        f"""
set folder = "imaps://localhost:{operator.tls}/"
set spoolfile = "+INBOX"
set imap_user = "{ALICE}"
set imap_pass = '{PASSWORD}'
set certificate_file = {operator.pki.roots}
set ssl_ca_certificates_file = {operator.pki.roots}
set ssl_force_tls = yes
set header_cache = ""
set confirmappend = no
set delete = yes
set quit = yes
set wait_key = no
push "<first-entry><display-message><exit><flag-message><save-message>=Archives<enter><sync-mailbox><quit>"
"""
    )
    status, said = await run(
        require("bsdutils", "script"), "-qec", f"{neomutt} -n -F {tmp_path}/neomuttrc", "/dev/null", home=tmp_path
    )
    account = operator.mailboxes.account(operator.bals[ALICE], ALICE)
    archives = await account.folder("Archives")
    assert (archives.messages, archives.unseen) == (1, 1), said  # the second letter, not read
    inbox = await account.folder("INBOX")
    assert (inbox.messages, inbox.unseen) == (1, 0)  # the first, read and flagged
    assert status == 0
