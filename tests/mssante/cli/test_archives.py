"""`bal export`, and back by `bal load`: what a holder takes away is what he had."""

import zipfile
from pathlib import Path

import pytest

from tests.mssante.cli.conftest import Operator
from tests.mssante.cli.test_load import ADDRESS, held, open_bal

BOX = b"""From MAILER-DAEMON Mon Nov  3 09:00:00 2025
Status: RO
X-Status: AF
Subject: un

>From moi
>>From toi

From MAILER-DAEMON Tue Nov  4 09:00:00 2025
Subject: deux

fin sans saut
"""


@pytest.fixture
def filled(operator: Operator, tmp_path: Path) -> Operator:
    open_bal(operator)
    (tmp_path / "old.mbox").write_bytes(BOX)
    assert operator("bal", "load", ADDRESS, "--from", str(tmp_path / "old.mbox")).code == 0
    sub = tmp_path / "Maildir" / ".R&AOk-sultats.2025" / "cur"
    sub.mkdir(parents=True)
    (tmp_path / "Maildir" / "cur").mkdir()
    (sub / "1.a:2,FS").write_bytes(b"Subject: trois\r\n\r\n" + bytes(range(14, 255)) * 2000 + b"\r\n")
    assert operator("bal", "load", ADDRESS, "--from", str(tmp_path / "Maildir")).code == 0
    return operator


def test_a_maildir_comes_back_as_it_was(filled: Operator, tmp_path: Path) -> None:
    before = held(filled)
    target = tmp_path / "export.zip"
    ended = filled("bal", "export", ADDRESS, "--to", str(target), "--form", "maildir")
    assert (ended.code, "INBOX: 2 messages" in ended.out, "Résultats/2025: 1 messages" in ended.out) == (0, True, True)
    assert target.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")
    assert filled("bal", "load", ADDRESS, "--from", str(tmp_path / "out")).code == 0
    twice = held(filled)
    for folder, messages in before.items():
        contents = [(octets, flags) for octets, flags, _ in twice[folder]]
        assert contents == 2 * [(octets, flags) for octets, flags, _ in messages]


def test_an_mbox_keeps_text_and_flags(filled: Operator, tmp_path: Path) -> None:
    before = held(filled)["INBOX"]
    assert filled("bal", "export", ADDRESS, "--to", str(tmp_path / "export.zip")).code == 0
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert {"INBOX.mbox", "Résultats/2025.mbox"} <= set(archive.namelist())
        archive.extract("INBOX.mbox", tmp_path)
    assert filled("bal", "load", ADDRESS, "--from", str(tmp_path / "INBOX.mbox")).code == 0
    again = held(filled)["INBOX"][2:]
    assert [(flags, when) for _, flags, when in again] == [(flags, when) for _, flags, when in before]
    assert b"\r\nFrom moi\r\n>From toi\r\n" in again[0][0]
    assert all(octets.endswith(old) for (octets, _, _), (old, _, _) in zip(again, before, strict=True))


def test_nothing_is_overwritten_and_no_half_file_stays(filled: Operator, tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("precious")
    ended = filled("bal", "export", ADDRESS, "--to", str(tmp_path / "there.zip"))
    assert (ended.code, "exists: name another" in ended.err) == (2, True)
    assert (tmp_path / "there.zip").read_text() == "precious"
    for segment in (filled.directory / "data" / "contents").rglob("*"):
        if segment.is_file():
            segment.unlink()
    assert filled("bal", "export", ADDRESS, "--to", str(tmp_path / "half.zip")).code != 0
    assert not (tmp_path / "half.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("export", ADDRESS, "--to", "/nowhere/x.zip"), 2, "name a place with room"),
        (("export", ADDRESS, "--to", "x.zip", "--form", "pst"), 2, "one of maildir, mbox"),
        (("export", "nobody@cabinet.test", "--to", "x.zip"), 1, "no such mailbox"),
        (("fetch", ADDRESS, "--from", "imap://a@b", "--password-stdin"), 2, "such as imaps://"),
        (("fetch", ADDRESS, "--from", "imaps://a:secret@b", "--password-stdin"), 2, "without a password"),
        (("fetch", ADDRESS, "--from", "imaps://a@127.0.0.1:99999", "--password-stdin"), 2, "such as imaps://"),
        (("fetch", ADDRESS, "--from", "imaps://a@127.0.0.1:1"), 2, "--password-stdin"),
        (("fetch", ADDRESS, "--from", "imaps://a@127.0.0.1:1", "--password-stdin"), 3, "run it again"),
        (("fetch", ADDRESS, "--from", "imaps://a@127.0.0.1:1", "--password-stdin", "--roots", "x"), 2, "--roots"),
    ],
)
def test_wrong_words_are_told(operator: Operator, arguments: tuple[str, ...], code: int, told: str) -> None:
    open_bal(operator)
    ended = operator("bal", *arguments, given="secret\n")
    assert (ended.code, len(ended.lines)) == (code, 1), ended.err
    assert told in ended.err
