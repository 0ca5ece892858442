"""offlineimap, fetchmail and imapflow against a real server, with real mail."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.imap.made import ALICE, PASSWORD, PREPEND, Operator, letter
from tests.imap.mails import MULTIPART, NESTED
from tests.imap.test_clients import run
from tests.support.debian import require

IMAPFLOW = Path(__file__).parent / "imapflow"

# -- offlineimap: a mailbox and a Maildir, kept equal both ways

OFFLINEIMAP = """[general]
accounts = essai
metadata = {home}/metadata
ui = basic
[Account essai]
localrepository = ici
remoterepository = la-bas
[Repository ici]
type = Maildir
localfolders = {home}/mail
[Repository la-bas]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {roots}
"""


async def test_offlineimap_both_ways_and_quiet_the_second_time(operator: Operator, tmp_path: Path) -> None:
    require("offlineimap3", "offlineimap")
    for number in (1, 2):
        await operator.deliver(letter(number), ALICE)
    values = {"home": tmp_path, "port": operator.tls, "user": ALICE, "password": PASSWORD, "roots": operator.pki.roots}
    (tmp_path / "rc").write_text(OFFLINEIMAP.format(**values))

    async def sync() -> str:
        status, said = await run("offlineimap", "-o", "-c", str(tmp_path / "rc"), home=tmp_path)
        assert status == 0, said
        assert "ERROR" not in said
        return said

    await sync()
    inbox = tmp_path / "mail" / "INBOX"
    arrived = sorted((inbox / "new").iterdir())
    assert sorted(file.read_bytes() for file in arrived) == sorted(
        (PREPEND + message).replace(b"\r\n", b"\n") for message in (letter(1), letter(2))
    )
    assert (tmp_path / "mail" / "Envoy&AOk-s").is_dir()
    arrived[0].rename(inbox / "cur" / f"{arrived[0].name.removesuffix(':2,')}:2,S")
    (inbox / "new" / "1.new").write_bytes(NESTED.replace(b"\r\n", b"\n"))
    assert "Copy message" in await sync()
    assert "Copy message" not in await sync()
    states = [seen for _, seen in operator.seen_in(ALICE, "INBOX")]
    assert (len(states), states.count(True)) == (3, 1)


# -- fetchmail: everything into a program, then gone from the server


async def test_fetchmail_takes_it_all_and_leaves_nothing(operator: Operator, tmp_path: Path) -> None:
    require("fetchmail", "fetchmail")
    for number in range(3):
        await operator.deliver(letter(number), ALICE)
    await operator.deliver(MULTIPART, ALICE)
    rc, password = tmp_path / "fetchmailrc", PASSWORD.replace("\\", "\\\\")
    rc.write_text(
        f"poll localhost protocol IMAP port {operator.tls} user {ALICE} password '{password}' ssl sslcertck"
        f" sslcertfile {operator.pki.roots} no keep mda 'cat >> {tmp_path}/box; echo \"=====\" >> {tmp_path}/box'\n"
    )
    rc.chmod(0o600)
    command = ("fetchmail", "--fetchmailrc", str(rc), "--nosyslog", "--idfile", str(tmp_path / "ids"))
    status, said = await run(*command, "--pidfile", str(tmp_path / "pid"), home=tmp_path)
    assert status == 0, said
    taken = (tmp_path / "box").read_bytes()
    assert taken.count(b"=====") == 4
    assert taken.count(b"Subject: =?utf-8?q?Compte_rendu") == 3
    assert operator.seen_in(ALICE, "INBOX") == []
    status, said = await run(*command, "--pidfile", str(tmp_path / "pid"), home=tmp_path)
    assert status == 1, said  # no mail


# -- imapflow: what JavaScript mail programs are made of


@pytest.fixture(scope="session")
def imapflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed, by its lock file."""
    require("npm", "npm")
    folder = tmp_path_factory.mktemp("imapflow")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(IMAPFLOW / name, folder)
    npm = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", str(folder / "cache"))
    status, said = asyncio.run(run(*npm, home=folder))
    assert status == 0, said
    return folder


async def test_imapflow(operator: Operator, imapflow: Path) -> None:
    for message in (letter(1), MULTIPART):
        await operator.deliver(message, ALICE)
    dialogue = ("node", str(IMAPFLOW / "dialogue.mjs"), "localhost", str(operator.tls), ALICE, PASSWORD)
    status, said = await run(*dialogue, str(operator.pki.roots), home=imapflow)
    assert status == 0, said
    seen = json.loads(said.splitlines()[-1])
    assert ["Envoyés", "\\Sent"] in seen["folders"]
    assert ["INBOX", "\\Inbox"] in seen["folders"]
    assert (seen["status"]["messages"], seen["status"]["unseen"], seen["exists"]) == (2, 2, 2)
    assert seen["subjects"][0] == [1, "Compte rendu n°1", "text/plain"]
    assert seen["subjects"][1][2].startswith("multipart/")
    assert seen["downloaded"] == len(PREPEND + letter(1))
    assert seen["found"] == [2]
    assert {"$Label1", "\\Flagged"} <= set(seen["flags"])
    assert seen["appended"] == ["Brouillons", 1]
    assert seen["moved"] == ["Corbeille", [[1, 1]]]
    assert (seen["left"], seen["created"]) == (1, True)
