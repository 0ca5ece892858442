r"""Dialogues as data: the language of ``transcripts/*.smtp``.

Each line of a file is one of
  # ...            says why
  set NAME VALUE   a setting of the server (a number), before `door`
  refuse WHAT RULE what Reception answers to an address or a login
  whole            not to be cut: what the case shows is that octets arrive together
  door NAME        connects to mx, submission or submissions (which begins with TLS)
  enter NAME       the same as far as MAIL: TLS, EHLO, and on submission AUTH, are done
  tls              the client's handshake, with the certificate of another operator
  C: TEXT          the client sends TEXT and CRLF; C lines in a row are one write
  C~ TEXT          the client sends TEXT alone
  S: PATTERN       the server says this line; * stands for anything
  S+ CODE          the server says a whole reply of that code
  closed           the server closes the connection
  stored N         so many messages are stored
  content TEXT     what the last one stored holds
In TEXT: \r \n \0 \\ \xNN, and \*N*T* for N times T.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from mssante.domain.verdict import Defer, Refuse, Rule
from tests.smtp_in.client import Client
from tests.smtp_in.doors import Doors
from tests.smtp_in.reception import MemoryReception

Cut = Callable[[bytes], Iterable[bytes]]

_STEPS = frozenset({"door", "enter", "tls", "C:", "C~", "S:", "S+", "closed", "stored", "content"})
_NAMED = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"\\": b"\\"}


@dataclass
class Transcript:
    """One file: ``settings`` for the server, ``refusals`` for Reception, ``steps`` as (word, rest of the line)."""

    settings: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, Refuse | Defer] = field(default_factory=dict)
    steps: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = False


def read(path: Path) -> Transcript:
    transcript = Transcript()
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        if word in ("", "#"):
            continue
        if word == "whole":
            transcript.whole = True
        elif word == "set":
            name, value = rest.split()
            transcript.settings[name] = int(value)
        elif word == "refuse":
            what, rule = rest.split()
            transcript.refusals[what] = Refuse(Rule(rule))
        else:
            assert word in _STEPS, f"{path.name}: {line}"
            transcript.steps.append((word, rest))
    return transcript


def octets(text: str) -> bytes:
    """The octets that a TEXT stands for."""
    repeated = re.sub(r"\\\*(\d+)\*(.+?)\*", lambda match: match[2] * int(match[1]), text)
    return re.sub(
        rb"\\(r|n|0|\\|x[0-9a-f]{2})",
        lambda match: _NAMED.get(match[1]) or bytes.fromhex(match[1][1:].decode("ascii")),
        repeated.encode(),
    )


async def play(transcript: Transcript, doors: Doors, reception: MemoryReception, cut: Cut) -> None:
    """Plays the steps, everything that is sent cut by ``cut``."""
    client: Client | None = None
    pending = b""
    for word, rest in transcript.steps:
        if word in ("C:", "C~"):
            pending += octets(rest) + (b"\r\n" if word == "C:" else b"")
            continue
        if client is not None and pending:
            await client.send(cut(pending))
            pending = b""
        if word == "door":
            client = await doors.connect(rest)
            continue
        if word == "enter":
            client = await (doors.mx() if rest == "mx" else doors.submission())
            continue
        if word == "stored":
            assert len(reception.stored) == int(rest)
            continue
        if word == "content":
            assert reception.stored[-1].content == octets(rest)
            continue
        assert client is not None, "a transcript begins with a door"
        if word == "tls":
            await client.start_tls(doors.pki.client("clinique"))
        elif word == "S:":
            line = await client.line()
            assert fnmatchcase(line, rest.replace("[", "[[]")), f"{line!r} is not {rest!r}"
        elif word == "S+":
            reply = await client.reply()
            assert reply and all(line.startswith(rest) for line in reply), f"{reply} is not {rest}"
        else:
            assert await client.rest() == b""
