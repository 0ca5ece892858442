"""A bounded run of each fuzz target, with a fixed seed, from the dialogues and mails that the other tests have."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imap import mails
from tests.imap.test_transcripts import TRANSCRIPTS
from tests.mssante.mime.test_evasions import HIDDEN

ROOT = Path(__file__).parents[2]


def _mails() -> list[bytes]:
    return [value for value in vars(mails).values() if isinstance(value, bytes)]


def _with_documents() -> list[bytes]:
    return [message for message in HIDDEN.values() if len(message) < 4096]


def _dialogues() -> list[bytes]:
    said = []
    for path in TRANSCRIPTS:
        lines = path.read_text(encoding="utf-8").splitlines()
        said += [line[3:].encode() + b"\r\n" for line in lines if line[1:3] == "> " and not line[3:].startswith('b"')]
    return said


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no build for this machine")
@pytest.mark.parametrize(("target", "runs"), [("framer", 4000), ("grammar", 20_000), ("mime", 4000), ("guard", 4000)])
def test_target(target: str, runs: int, tmp_path: Path) -> None:
    corpus, found = tmp_path / "corpus", tmp_path / "found"
    for folder in (corpus, found):
        folder.mkdir()
    seeds = {"mime": _mails, "guard": _with_documents}.get(target, _dialogues)
    for number, octets in enumerate(seeds()):
        (corpus / f"{number:04d}").write_bytes(octets)
    options = [f"-runs={runs}", "-seed=4", "-max_len=4096", "-timeout=20", f"-artifact_prefix={found}/", str(corpus)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.targets", target, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    finding = next((file.read_bytes() for file in found.iterdir()), b"")
    assert done.returncode == 0, f"{done.stderr[-3000:]}\ninput: {finding!r}"
    (count,) = re.findall(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert int(count) >= runs
