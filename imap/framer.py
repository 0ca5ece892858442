"""Finds where IMAP commands end: bytes in, complete commands out, no I/O and no grammar (RFC 9051 §2.2.1, §4.3).

Invariants:
- A limit is looked at before the octets it is about are kept: a literal is refused by its announced size.
- The events depend on the octets alone, never on how the network cut them (only the cuts of `MessageData` differ).
- After a `Fault` that is not fatal the next event is the next command; after a fatal one there is no event any more.
- At most `limits.command` octets of a command are held, message literals (APPEND) never are.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """All in octets. `message` 0: no streamed literals (nobody is signed in yet). `discard`: how much refused input
    is read and dropped to stay in step with the client; beyond that the connection ends."""

    line: int
    command: int
    message: int = 0
    discard: int = 0


BEFORE_LOGIN: Final = Limits(line=12_288, command=12_288)
"""Room for a long token (RFC 4954 §4 asks as much of SMTP)."""


class Command(msgspec.Struct, frozen=True):
    """A whole command: `texts[0] literals[0] texts[1] ...`, literal announcements and line ends taken off.
    A text before a literal8 ends in `~`."""

    texts: tuple[bytes, ...]
    literals: tuple[bytes, ...] = ()


class Continue(msgspec.Struct, frozen=True):
    """A synchronising literal was accepted: the client waits for `+`."""


class MessageStart(msgspec.Struct, frozen=True):
    """A message literal is announced: what of the command came before it, its size in octets, whether the client waits
    for `+`. Answer with nothing (and `+` when `sync`) to receive it, or with `Framer.refuse_message`."""

    head: Command
    size: int
    sync: bool


class MessageData(msgspec.Struct, frozen=True):
    data: bytes


class MessageEnd(msgspec.Struct, frozen=True):
    """The command ended after its last message literal; `tail` is what followed it."""

    tail: Command


class Line(msgspec.Struct, frozen=True):
    """A line that is no command: the answer to a continuation (AUTHENTICATE, IDLE)."""

    data: bytes


class Fault(msgspec.Struct, frozen=True):
    """Input refused. `tag` is None when none could be read; `code` is a response code ("TOOBIG") or empty.
    `fatal`: the framer is dead, the connection has to end."""

    tag: bytes | None
    text: str
    code: str = ""
    fatal: bool = False


Event = Command | Continue | MessageStart | MessageData | MessageEnd | Line | Fault

_LITERAL = re.compile(rb"\{([0-9]{1,19})(\+?)\}$")
_ANNOUNCEMENT_ROOM = 32
"""The longest literal announcement, octets: what must be kept of a line that is being dropped."""
_TAG = re.compile(rb"([^\x00-\x20(){%*\"\\+\x7f-\xff]{1,100}) ")
_STREAMED = re.compile(rb"[^ ]+ (APPEND|(?:UID )?REPLACE [0-9*]+) (.)", re.IGNORECASE)
"""Commands whose literal is a message, once something (the mailbox name) stands between name and literal."""
_CHUNK = 65536


class Framer:
    def __init__(self, limits: Limits = BEFORE_LOGIN) -> None:
        self.limits = limits
        self._buffer = bytearray()
        self._scanned = 0  # octets of the buffer known to hold no line end
        self._texts: list[bytes] = []
        self._literals: list[bytes] = []
        self._held = 0  # octets in _texts and _literals
        self._need = 0  # octets still to come of the literal being read
        self._message = 0  # 0 no message literal in this command, 1 inside it, 2 after it
        self._dropping = False  # the rest of this command was refused
        self._drop = 0  # octets of a refused literal still to come
        self._dropped = 0  # octets of this command already dropped
        self._dead = False

    @property
    def buffered(self) -> int:
        """Octets received and not yet given out."""
        return len(self._buffer)

    @property
    def idle(self) -> bool:
        """True between two commands with nothing received of the next."""
        return not (self._buffer or self._texts or self._dropping or self._message)

    def feed(self, data: bytes) -> None:
        if not self._dead:
            self._buffer += data

    def next_event(self) -> Event | None:
        """The next event, or None when more octets are needed. `limits` may be changed between events."""
        while not self._dead:
            if self._dropping:
                fault = self._drop_more()
                if fault is not None or self._dropping:
                    return fault
            elif self._message == 1 and self._need:
                return self._message_data()
            elif self._need:
                if len(self._buffer) < self._need:
                    return None
                self._literals.append(self._take(self._need))
                self._need = 0
            else:
                if self._message == 1:
                    self._message = 2
                line = self._line()
                if line is None or isinstance(line, Fault):
                    return line
                event = self._text(line)
                if event is not None:
                    return event
        return None

    def next_line(self) -> Line | Fault | None:
        """The next line as it is, for the answer to a continuation. Only between commands."""
        line = None if self._dead else self._line(fatal=True)
        return Line(line) if isinstance(line, bytes) else line

    def refuse_message(self, start: MessageStart) -> None:
        """The message literal just announced is not wanted: the rest of its command is dropped."""
        if start.sync:
            self._reset()
        else:
            self._drop, self._dropped, self._need, self._dropping = self._need, self._need, 0, True

    def _reset(self) -> None:
        self._texts, self._literals = [], []
        self._held = self._need = self._message = self._drop = self._dropped = 0
        self._dropping = False

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._scanned = 0
        return data

    def _line(self, fatal: bool = False) -> bytes | Fault | None:
        """One line without its end (CRLF; a bare LF ends a line too, as terminal users expect)."""
        end = self._buffer.find(b"\n", self._scanned)
        room = min(self.limits.line, self.limits.command - self._held)
        if end > room or (end < 0 and len(self._buffer) > room):
            return self._refuse("Command line too long", "TOOBIG", 0, self._buffer[:room], fatal=fatal)
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        line = self._take(end + 1)
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def _text(self, line: bytes) -> Event | None:
        """Take a line as the next text of the command; None when a non-synchronising literal follows."""
        announced = _LITERAL.search(line) if line.endswith(b"}") else None
        if announced is None:
            self._texts.append(line)
            command = Command(tuple(self._texts), tuple(self._literals))
            event: Event = MessageEnd(command) if self._message else Command(command.texts, command.literals)
            self._reset()
            return event
        text, size, sync = line[: announced.start()], int(announced[1]), not announced[2]
        streamed = self._message == 2 or (not self._literals and _STREAMED.match(text)) or self._is_append_by_literal()
        if streamed and self.limits.message:
            if size > self.limits.message:
                return self._refuse("Message too large", "TOOBIG", size, line, sync=sync)
            self._texts.append(text)
            head = Command(tuple(self._texts), tuple(self._literals))
            self._texts, self._literals, self._held = [], [], 0
            self._message, self._need = 1, size
            return MessageStart(head, size, sync)
        if self._held + len(text) + size > self.limits.command:
            return self._refuse("Literal too large", "TOOBIG", size, line, sync=sync)
        self._texts.append(text)
        self._held += len(text) + size
        self._need = size
        if not size:
            self._literals.append(b"")
        return Continue() if sync else None

    def _is_append_by_literal(self) -> bool:
        """The mailbox name of an APPEND came as a literal; the next literal is the message."""
        return bool(self._literals and _STREAMED.match(self._texts[0] + b"x"))

    def _message_data(self) -> MessageData | None:
        count = min(len(self._buffer), self._need, _CHUNK)
        if not count:
            return None
        self._need -= count
        return MessageData(self._take(count))

    def _refuse(
        self, text: str, code: str, size: int, line: bytes | bytearray, *, sync: bool = False, fatal: bool = False
    ) -> Fault:
        """Refuse the command being read, whose literal of `size` octets was announced (0: whose line is too long)."""
        found = _TAG.match(self._texts[0] if self._texts else bytes(line))
        tag = found[1] if found and not self._message else None
        if sync:
            self._reset()
        elif fatal or size > self.limits.discard or not self.limits.discard:
            self._dead = fatal = True
            self._buffer.clear()
        else:
            self._drop, self._dropped, self._dropping = size, size, True
            self._texts, self._literals, self._need, self._message = [], [], 0, 0
        return Fault(tag, text, code, fatal)

    def _drop_more(self) -> Fault | None:
        """Drop what can be dropped of a refused command; a fault when that is more than `limits.discard`."""
        while True:
            count = min(self._drop, len(self._buffer))
            self._take(count)
            self._drop -= count
            if self._drop:
                return None
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                excess = max(0, len(self._buffer) - _ANNOUNCEMENT_ROOM)
                self._take(excess)
                self._scanned = len(self._buffer)
                self._dropped += excess
                return self._gone() if self._dropped > self.limits.discard else None
            self._dropped += end + 1
            announced = _LITERAL.search(self._take(end + 1).rstrip(b"\r\n"))
            self._drop = int(announced[1]) if announced and announced[2] else 0
            self._dropped += self._drop
            if self._dropped > self.limits.discard:
                return self._gone()
            if announced is None or not announced[2]:
                self._reset()
                return None

    def _gone(self) -> Fault:
        self._dead = True
        self._buffer.clear()
        return Fault(None, "Too much refused input", "", True)
