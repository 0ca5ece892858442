"""The client's side of an SMTP dialogue (RFC 5321), without I/O: bytes in, events and bytes out.

What always holds here:
- nothing but EHLO, STARTTLS and QUIT is ever said in clear: a server without STARTTLS ends the dialogue;
- bytes that come with or after the answer to STARTTLS and before TLS stands end the dialogue (RFC 3207 §6);
- replies are matched to commands in order; a reply nobody asked for, a code that makes no sense where it stands, or
  text that is no reply ends the dialogue in a named fault. No recipient counts as done without the server's own 2xx
  to the complete body;
- bytes may be cut anywhere: the events are the same;
- the body leaves as it came, dots stuffed and nothing else changed, so that signatures stay valid.

The caller feeds `receive()`, acts on the events, and writes what `take()` gives. After `StartTls` it upgrades the
transport and says `secured()`; after `Ready` it asks whether it trusts the peer's certificate, then says `send()`;
after `SendBody` it writes `body(chunk)` for each chunk and `end_body()`.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from smtp_out.replies import Reply, ReplyError, ReplyReader, ReplyTooLong


class Fault(StrEnum):
    """Named ends of a dialogue. All are temporary by themselves: another attempt may end otherwise."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    SHUT_DOWN = "shut_down"
    GREETING_REFUSED = "greeting_refused"
    EHLO_REFUSED = "ehlo_refused"
    NO_STARTTLS = "no_starttls"
    STARTTLS_REFUSED = "starttls_refused"
    CLEAR_TEXT_AFTER_STARTTLS = "clear_text_after_starttls"
    TLS_FAILED = "tls_failed"
    PEER_CERTIFICATE = "peer_certificate"
    CERTIFICATE_REFUSED = "certificate_refused"
    CLOSED_AFTER_HANDSHAKE = "closed_after_handshake"
    NOT_LISTED = "not_listed"
    BAD_REPLY = "bad_reply"
    REPLY_TOO_LONG = "reply_too_long"
    UNEXPECTED_REPLY = "unexpected_reply"


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a dialogue ended before its answer. `reply` when the server said something, `detail` for the log."""

    fault: Fault
    detail: str = ""
    reply: Reply | None = None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.fault.value, self.detail, str(self.reply or "")) if part)


@dataclass(frozen=True, slots=True)
class EnvelopeRecipient:
    """`notify` and `orcpt` are the RFC 3461 parameters as they came (xtext untouched), empty when not given."""

    address: str
    notify: str = ""
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One transaction. `sender` is empty for the null sender; `size` counts the octets of the body before stuffing."""

    sender: str
    recipients: tuple[EnvelopeRecipient, ...]
    size: int
    envid: str = ""
    ret: str = ""
    utf8_headers: bool = False


@dataclass(frozen=True, slots=True)
class StartTls:
    """The server is ready for the TLS handshake."""


@dataclass(frozen=True, slots=True)
class Ready:
    """TLS stands and the server offered its extensions: transactions may start."""


@dataclass(frozen=True, slots=True)
class SendBody:
    """The server waits for the content."""


@dataclass(frozen=True, slots=True)
class Done:
    """The transaction is over: for each recipient, in the envelope's order, the server's reply or why there is none."""

    results: tuple[Reply | Lost, ...]


@dataclass(frozen=True, slots=True)
class Over:
    """The dialogue is over: nothing more may be said on this connection."""

    lost: Lost


Event = StartTls | Ready | SendBody | Done | Over


class State(Enum):
    GREETING = auto()
    EHLO = auto()
    STARTTLS = auto()
    HANDSHAKE = auto()
    EHLO_SECURED = auto()
    READY = auto()
    ENVELOPE = auto()
    BODY = auto()
    FINAL = auto()
    QUIT = auto()
    OVER = auto()


class _Step(Enum):
    RSET = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()


class Dialogue:
    """One connection's dialogue; `name` is what we call ourselves in EHLO."""

    def __init__(self, name: str) -> None:
        self.state = State.GREETING
        self.extensions: Mapping[str, str] = {}
        self.replies = 0
        """Replies read so far: what a timer looks at to see progress."""
        self._name = name
        self._reader = ReplyReader()
        self._out: list[bytes] = []
        self._commands: deque[tuple[_Step, bytes]] = deque()
        self._expected: deque[_Step] = deque()
        self._results: list[Reply | None] = []
        self._answered = 0
        self._rset_first = False
        self._at_line_start = True
        self._last_two = b""

    # -- what the caller does ------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """The bytes to write now."""
        out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return out

    def secured(self) -> None:
        """TLS stands: what was learnt in clear is forgotten and EHLO said again (RFC 3207 §4.2)."""
        self._require(State.HANDSHAKE)
        self.extensions = {}
        self.state = State.EHLO_SECURED
        self._say_ehlo()

    def send(self, envelope: Envelope) -> Sequence[Event]:
        """Starts a transaction. Answers Done at once when the server's extensions make it pointless to ask."""
        self._require(State.READY)
        if not envelope.recipients:
            raise ValueError("an envelope without recipients")
        if self._reader.pending:
            return self.lose(Lost(Fault.UNEXPECTED_REPLY, "before any question"))
        refusal = self._refusal(envelope)
        if refusal is not None:
            return (Done((refusal,) * len(envelope.recipients)),)
        if self._rset_first:
            self._commands.append((_Step.RSET, b"RSET\r\n"))
            self._rset_first = False
        self._commands.append((_Step.MAIL, self._mail(envelope)))
        self._commands.extend((_Step.RCPT, self._rcpt(recipient)) for recipient in envelope.recipients)
        self._commands.append((_Step.DATA, b"DATA\r\n"))
        self._results = [None] * len(envelope.recipients)
        self._answered = 0
        self.state = State.ENVELOPE
        self._say_next()
        return ()

    def body(self, chunk: bytes) -> bytes:
        """`chunk` of the body as it goes on the wire: a dot that begins a line is doubled (RFC 5321 §4.5.2)."""
        self._require(State.BODY)
        if not chunk:
            return chunk
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        if chunk[0] == 0x2E and self._at_line_start:
            stuffed = b"." + stuffed
        elif chunk[:2] == b"\n." and self._last_two[-1:] == b"\r":
            stuffed = b"\n." + stuffed[1:]
        self._last_two = chunk[-2:] if len(chunk) > 1 else self._last_two[-1:] + chunk
        self._at_line_start = self._last_two == b"\r\n"
        return stuffed

    def end_body(self) -> bytes:
        """The end of the body; the server's answer decides."""
        self._require(State.BODY)
        self.state = State.FINAL
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"

    def quit(self) -> None:
        """Says goodbye where that is possible; no answer is needed."""
        if self.state in (State.READY, State.EHLO_SECURED):
            self._out.append(b"QUIT\r\n")
            self.state = State.QUIT

    def lose(self, lost: Lost) -> Sequence[Event]:
        """The caller's own end of the dialogue: time is up, TLS failed, the connection closed."""
        if self.state in (State.OVER, State.QUIT):
            self.state = State.OVER
            return ()
        events: list[Event] = []
        if self.state is State.FINAL:
            lost = replace(lost, detail=f"{lost.detail} (after the content: delivered or not, nobody knows)".strip())
        if self.state in (State.ENVELOPE, State.BODY, State.FINAL):
            events.append(Done(tuple(result or lost for result in self._results)))
        self.state = State.OVER
        self._out.clear()
        self._commands.clear()
        self._expected.clear()
        events.append(Over(lost))
        return events

    # -- what the server does ------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> Sequence[Event]:
        """Reads what came; the events it makes, oldest first."""
        events: list[Event] = []
        if self.state is not State.OVER:
            self._reader.feed(data)
        while self.state is not State.OVER:
            if self.state is State.HANDSHAKE:
                if self._reader.pending:
                    events += self.lose(Lost(Fault.CLEAR_TEXT_AFTER_STARTTLS))
                break
            try:
                reply = self._reader.next()
            except ReplyTooLong as error:
                events += self.lose(Lost(Fault.REPLY_TOO_LONG, str(error)))
                break
            except ReplyError as error:
                events += self.lose(Lost(Fault.BAD_REPLY, str(error)))
                break
            if reply is None:
                break
            events += self._reply(reply)
        return events

    def _reply(self, reply: Reply) -> Sequence[Event]:
        self.replies += 1
        if reply.code == 421 and self.state is not State.QUIT:
            return self.lose(Lost(Fault.SHUT_DOWN, "", reply))
        match self.state:
            case State.GREETING:
                if reply.code != 220:
                    return self.lose(Lost(Fault.GREETING_REFUSED, "", reply))
                self.state = State.EHLO
                self._say_ehlo()
                return ()
            case State.EHLO | State.EHLO_SECURED:
                return self._ehlo(reply)
            case State.STARTTLS:
                if reply.code != 220:
                    return self.lose(Lost(Fault.STARTTLS_REFUSED, "", reply))
                self.state = State.HANDSHAKE
                return (StartTls(),)
            case State.ENVELOPE:
                return self._envelope(reply)
            case State.BODY:
                return self._early(reply)
            case State.FINAL:
                return self._final(reply)
            case State.QUIT:
                self.state = State.OVER
                return ()
            case _:
                return self._unexpected(reply)

    def _ehlo(self, reply: Reply) -> Sequence[Event]:
        if reply.code != 250:
            return self.lose(Lost(Fault.EHLO_REFUSED, "", reply))
        offered = (line.partition(" ") for line in reply.lines[1:])
        self.extensions = {keyword.upper(): parameters for keyword, _, parameters in offered}
        if self.state is State.EHLO_SECURED:
            self.state = State.READY
            return (Ready(),)
        if "STARTTLS" not in self.extensions:
            return self.lose(Lost(Fault.NO_STARTTLS))
        self.state = State.STARTTLS
        self._out.append(b"STARTTLS\r\n")
        return ()

    def _envelope(self, reply: Reply) -> Sequence[Event]:
        if not self._expected:
            return self._unexpected(reply)
        step = self._expected.popleft()
        if reply.code < 400 and not (reply.code == 354 if step is _Step.DATA else reply.positive):
            return self._unexpected(reply)
        match step:
            case _Step.RSET:
                if not reply.positive:
                    return self.lose(Lost(Fault.UNEXPECTED_REPLY, "RSET refused", reply))
            case _Step.MAIL:
                if not reply.positive:
                    self._results = [reply] * len(self._results)
                    if not self._expected:
                        self._commands.clear()
                        return self._finish()
            case _Step.RCPT:
                if not reply.positive and self._results[self._answered] is None:
                    self._results[self._answered] = reply
                self._answered += 1
                if not self._expected and self._answered == len(self._results) and not self._accepted:
                    # Asked one by one, and nobody was accepted: DATA has no sense.
                    self._commands.clear()
                    self._rset_first = True
                    return self._finish()
            case _Step.DATA:
                return self._data(reply)
        self._say_next()
        return ()

    def _data(self, reply: Reply) -> Sequence[Event]:
        if reply.code == 354:
            if not self._accepted:
                # RFC 2920 §3.1: a server that wants content for nobody gets an empty one.
                self._out.append(b".\r\n")
                self.state = State.FINAL
                return ()
            self._at_line_start = True
            self._last_two = b"\r\n"
            self.state = State.BODY
            return (SendBody(),)
        self._settle_accepted(reply)
        self._rset_first = True
        return self._finish()

    def _early(self, reply: Reply) -> Sequence[Event]:
        if reply.code < 400:
            return self._unexpected(reply)
        # A refusal in the middle of the content is an answer, but only closing stops the content (RFC 5321 §3.8).
        self._settle_accepted(reply)
        return self.lose(Lost(Fault.SHUT_DOWN, "refused in the middle of the content", reply))

    def _final(self, reply: Reply) -> Sequence[Event]:
        if 300 <= reply.code < 400:
            return self._unexpected(reply)
        self._settle_accepted(reply)
        return self._finish()

    def _settle_accepted(self, reply: Reply) -> None:
        self._results = [reply if result is None else result for result in self._results]

    @property
    def _accepted(self) -> bool:
        return any(result is None for result in self._results)

    def _finish(self) -> Sequence[Event]:
        self.state = State.READY
        return (Done(tuple(result for result in self._results if result is not None)),)

    def _unexpected(self, reply: Reply) -> Sequence[Event]:
        return self.lose(Lost(Fault.UNEXPECTED_REPLY, f"in {self.state.name.lower()}", reply))

    # -- what we say ---------------------------------------------------------------------------------------------

    def _require(self, state: State) -> None:
        if self.state is not state:
            raise RuntimeError(f"the dialogue is in {self.state.name}, not in {state.name}")

    def _say_ehlo(self) -> None:
        self._out.append(_line(f"EHLO {self._name}"))

    def _say_next(self) -> None:
        """Writes the next command, or with PIPELINING all of them: DATA ends the group (RFC 2920 §3.1)."""
        if "PIPELINING" in self.extensions:
            self._out.append(b"".join(line for _, line in self._commands))
            self._expected.extend(step for step, _ in self._commands)
            self._commands.clear()
        elif self._commands and not self._expected:
            step, line = self._commands.popleft()
            self._out.append(line)
            self._expected.append(step)

    def _refusal(self, envelope: Envelope) -> Reply | None:
        limit = self.extensions.get("SIZE", "")
        if limit.isdigit() and 0 < int(limit) < envelope.size:
            return Reply(552, (f"5.3.4 The peer takes messages up to {int(limit)} octets",), local=True)
        if "SMTPUTF8" not in self.extensions and _needs_utf8(envelope):
            return Reply(553, ("5.6.7 The peer does not take addresses or headers in UTF-8",), local=True)
        return None

    def _mail(self, envelope: Envelope) -> bytes:
        parts = [f"MAIL FROM:<{envelope.sender}>"]
        if "SIZE" in self.extensions:
            parts.append(f"SIZE={envelope.size}")
        if "8BITMIME" in self.extensions:
            parts.append("BODY=8BITMIME")
        if _needs_utf8(envelope):
            parts.append("SMTPUTF8")
        if "DSN" in self.extensions:
            parts += [f"RET={envelope.ret}"] if envelope.ret else []
            parts += [f"ENVID={envelope.envid}"] if envelope.envid else []
        return _line(" ".join(parts))

    def _rcpt(self, recipient: EnvelopeRecipient) -> bytes:
        parts = [f"RCPT TO:<{recipient.address}>"]
        if "DSN" in self.extensions:
            parts += [f"NOTIFY={recipient.notify}"] if recipient.notify else []
            parts += [f"ORCPT={recipient.orcpt}"] if recipient.orcpt else []
        return _line(" ".join(parts))


def _needs_utf8(envelope: Envelope) -> bool:
    """SMTPUTF8 is asked for only where it is needed (RFC 6531 §3.1)."""
    return (
        envelope.utf8_headers
        or not envelope.sender.isascii()
        or not all(recipient.address.isascii() for recipient in envelope.recipients)
    )


def _line(text: str) -> bytes:
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError(f"a command of several lines: {text!r}")
    return text.encode() + b"\r\n"
