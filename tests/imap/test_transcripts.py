"""Dialogues as data: every `transcripts/*.imap` is played against a real server.

    # words                   a comment
    @ A alice                 session A begins, signed in as alice (TLS); `@ A` begins one that is not
    @ A clear                 session A begins on the STARTTLS port, in clear
    @ deliver alice 1 2       letters 1 and 2 arrive in alice's INBOX
    @ lend alice bob read     bob gets the right to read alice's mailbox
    @ take alice bob read     it is taken back
    A> a1 NOOP                session A sends this line
    A> b"..."                 session A sends these octets (a Python literal), no line end added
    A< a1 OK ...              the next line that A receives; `...` stands for anything within it
    A< ...                    any lines, up to one that matches the next expected line
    A< (closed)               the server ends the connection

Nothing may be left over: at its end each open session sends NOOP and must get its answer and no more.
"""

import ast
import asyncio
import re
from pathlib import Path

import pytest

from mssante.domain.address import parse_address
from mssante.services.bals import give_right, take_right_back
from tests.imap.made import ALICE, BOB, Line, Operator, letter

PEOPLE = {"alice": ALICE, "bob": BOB}
TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.imap"))
_STEP = re.compile(r"(?P<session>[A-Z])(?P<way>[<>]) ?(?P<text>.*)")


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript(path: Path, operator: Operator) -> None:
    script = await asyncio.to_thread(path.read_text, encoding="utf-8")
    sessions: dict[str, Line] = {}
    skipping: set[str] = set()
    try:
        for number, text in enumerate(script.splitlines(), 1):
            where = f"{path.name}:{number}"
            if not text.strip() or text.startswith("#"):
                continue
            if text.startswith("@ "):
                await _arrange(operator, sessions, text[2:].split())
                continue
            step = _STEP.fullmatch(text)
            assert step is not None, f"{where}: not a step"
            name, line = step["session"], sessions[step["session"]]
            if step["way"] == ">":
                await line.send(_octets(step["text"]))
            elif step["text"] == "...":
                skipping.add(name)
            else:
                await _expect(line, step["text"], where, skip=name in skipping)
                skipping.discard(name)
        for name, line in sessions.items():
            if not line.reader.at_eof():
                await line.send(b"end NOOP\r\n")
                await _expect(line, "end OK NOOP completed", f"{path.name}: end of {name}", skip=False)
    finally:
        for line in sessions.values():
            await line.close()


def _octets(text: str) -> bytes:
    if text.startswith('b"'):
        octets = ast.literal_eval(text)
        assert isinstance(octets, bytes)
        return octets
    return text.encode("utf-8") + b"\r\n"


async def _arrange(operator: Operator, sessions: dict[str, Line], words: list[str]) -> None:
    if words[0] == "deliver":
        for number in words[2:]:
            await operator.deliver(letter(int(number)), PEOPLE[words[1]], prepend=b"")
        return
    if words[0] in {"lend", "take"}:
        change = give_right if words[0] == "lend" else take_right_back
        await operator.store.write(change, parse_address(PEOPLE[words[1]]), PEOPLE[words[2]], words[3], "essai")
        return
    clear = words[1:] == ["clear"]
    line = await Line.connect(operator.starttls if clear else operator.tls, None if clear else operator.pki.client())
    sessions[words[0]] = line
    await line.reader.readline()
    if len(words) > 1 and not clear:
        await line.sign_in(PEOPLE[words[1]])


async def _expect(line: Line, text: str, where: str, *, skip: bool) -> None:
    pattern = re.compile(".*".join(map(re.escape, text.split("..."))).encode("utf-8"))
    passed = []
    while True:
        received = await asyncio.wait_for(line.reader.readline(), 10)
        if text == "(closed)" and not received:
            return
        if pattern.fullmatch(received.removesuffix(b"\r\n")):
            return
        passed.append(received.decode("utf-8", "replace"))
        assert skip and received, f"{where}: expected {text!r}, got {''.join(passed)!r}"
