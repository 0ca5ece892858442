"""The outbound dialogue against transcripts: `dialogues/*.smtp`.

`S:` is a line of the server, `S~` raw bytes of it (escapes, no line end), `C:` a line that we must write, `event:` what
the engine must tell, `do:` what its caller does. Server lines that follow each other are one delivery of bytes: each
transcript is played whole, octet by octet and cut at random, with the same outcome.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_out.dialogue import (
    Dialogue,
    Done,
    Envelope,
    EnvelopeRecipient,
    Event,
    Fault,
    Lost,
    Over,
    State,
)
from smtp_out.replies import MAX_LINE, MAX_LINES, MAX_REPLY, Reply

NAME = "mx.cabinet.mssante.fr"
BODY = b"Subject: essai\r\n\r\ncorps\r\n"
TRANSCRIPTS = sorted((Path(__file__).parent / "dialogues").glob("*.smtp"))

Cut = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


def octets(data: bytes) -> Iterable[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def at_random(seed: int) -> Cut:
    chance = random.Random(seed)

    def cut(data: bytes) -> Iterator[bytes]:
        while data:
            size = chance.randint(1, len(data))
            yield data[:size]
            data = data[size:]

    return cut


def words(event: Event) -> str:
    """An event as transcripts write it."""
    match event:
        case Done(results):
            return "Done " + " / ".join(each.fault.value if isinstance(each, Lost) else str(each) for each in results)
        case Over(lost):
            return f"Over {lost.fault.value}"
        case _:
            return type(event).__name__


def ready(dialogue: Dialogue, extensions: Iterable[str]) -> None:
    """Brings a dialogue to the point where transactions start."""
    dialogue.receive(b"220 mx.clinique.mssante.fr\r\n250-mx.clinique.mssante.fr\r\n250 STARTTLS\r\n220 go\r\n")
    dialogue.secured()
    dialogue.take()
    lines = ["mx.clinique.mssante.fr", *(each.replace("=", " ") for each in extensions)]
    text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
    assert [words(event) for event in dialogue.receive(text.encode())] == ["Ready"]


def envelope(text: str) -> Envelope:
    """`SENDER -> RECIPIENT [NOTIFY=..] [ORCPT=..] ... [| RET=.. ENVID=..]`"""
    people, _, options = text.partition(" | ")
    sender, _, rest = people.partition("-> ")
    recipients: list[EnvelopeRecipient] = []
    for word in rest.split():
        if "@" in word and not word.startswith("ORCPT="):
            recipients.append(EnvelopeRecipient(word))
        else:
            name, _, value = word.partition("=")
            last = recipients.pop()
            recipients.append(
                EnvelopeRecipient(
                    last.address, value if name == "NOTIFY" else last.notify, value if name == "ORCPT" else last.orcpt
                )
            )
    given_options = dict(option.split("=", 1) for option in options.split())
    return Envelope(sender.strip(), tuple(recipients), 26, given_options.get("ENVID", ""), given_options.get("RET", ""))


def play(transcript: str, cut: Cut) -> Dialogue:
    dialogue = Dialogue(NAME)
    written = b""
    told: list[str] = []
    arriving = b""
    for line in [*transcript.splitlines(), "end"]:
        if not line.startswith("S") and arriving:
            for piece in cut(arriving):
                told += [words(event) for event in dialogue.receive(piece)]
                written += dialogue.take()
            arriving = b""
        mark, _, rest = line.partition(" ")
        match mark:
            case "S:":
                arriving += rest.encode() + b"\r\n"
            case "S~":
                arriving += rest.encode().decode("unicode_escape").encode("latin-1")
            case "C:":
                expected = rest.encode() + b"\r\n"
                assert written[: len(expected)] == expected
                written = written[len(expected) :]
            case "event:":
                assert told[:1] == [rest]
                del told[0]
            case "do:":
                assert (told, written) == ([], b""), f"not expected before {line!r}"
                what, _, rest = rest.partition(" ")
                match what:
                    case "ready":
                        ready(dialogue, rest.split())
                    case "secured":
                        dialogue.secured()
                    case "send":
                        told += [words(event) for event in dialogue.send(envelope(rest))]
                    case "body":
                        body = BODY if rest.startswith("Subject") else rest.encode()
                        written += dialogue.body(body) + dialogue.end_body()
                    case "closed":
                        told += [words(event) for event in dialogue.lose(Lost(Fault.CLOSED))]
                    case "quit":
                        dialogue.quit()
                    case _:
                        raise AssertionError(line)
                written += dialogue.take()
            case "end" | "#" | "":
                pass
            case _:
                raise AssertionError(f"unreadable line: {line!r}")
    assert (told, written) == ([], b"")
    return dialogue


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    transcript = path.read_text()
    for cut in (whole, octets, *(at_random(seed) for seed in range(20))):
        play(transcript, cut)


def test_every_transcript_is_played() -> None:
    assert len(TRANSCRIPTS) >= 35


@pytest.mark.parametrize(
    ("hostile", "fault"),
    [
        (b"220 " + b"x" * MAX_LINE + b"\r\n", Fault.REPLY_TOO_LONG),
        (b"220-x\r\n" * (MAX_LINES + 1), Fault.REPLY_TOO_LONG),
        ((b"220-" + b"x" * 2000 + b"\r\n") * (MAX_REPLY // 2000 + 1), Fault.REPLY_TOO_LONG),
        (b"\r\n", Fault.BAD_REPLY),
        (b"22\r\n", Fault.BAD_REPLY),
        (b"199 no\r\n", Fault.BAD_REPLY),
        (b"600 no\r\n", Fault.BAD_REPLY),
        (b"220_no\r\n", Fault.BAD_REPLY),
        (b"2200 no\r\n", Fault.BAD_REPLY),
        (b"220 a\rb\r\n", Fault.BAD_REPLY),
        ("２２０ no\r\n".encode(), Fault.BAD_REPLY),
    ],
)
def test_hostile_greeting_ends_in_a_named_fault(hostile: bytes, fault: Fault) -> None:
    for cut in (whole, octets, at_random(1)):
        dialogue = Dialogue(NAME)
        events = [event for piece in cut(hostile) for event in dialogue.receive(piece)]
        assert [words(event) for event in events] == [f"Over {fault.value}"]
        assert dialogue.take() == b""
        assert dialogue.state is State.OVER


@given(
    st.lists(st.sampled_from([b"220 ", b"250-", b"250 ", b"354 ", b"421 ", b"\r\n", b"\n", b"x", b"STARTTLS", b"\0"]))
)
def test_no_bytes_of_a_server_break_the_engine_or_get_a_recipient_delivered(pieces: list[bytes]) -> None:
    """Whatever comes before the content was sent, nobody counts as served, and cutting makes no difference."""
    outcomes = []
    for feed in (pieces, [b"".join(pieces)], octets(b"".join(pieces))):
        dialogue = Dialogue(NAME)
        ready(dialogue, ["PIPELINING"])
        dialogue.send(Envelope("a@cabinet.mssante.fr", (EnvelopeRecipient("b@clinique.mssante.fr"),), 1))
        events = [event for piece in feed for event in dialogue.receive(piece)]
        for event in events:
            if isinstance(event, Done):
                assert not any(isinstance(each, Reply) and each.positive for each in event.results)
        outcomes.append([words(event) for event in events])
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_what_is_offered_in_clear_is_not_believed() -> None:
    """A STARTTLS reply and EHLO in clear may be anybody's: PIPELINING counts only when offered over TLS."""
    dialogue = Dialogue(NAME)
    dialogue.receive(b"220 x\r\n250-x\r\n250-PIPELINING\r\n250 STARTTLS\r\n220 go\r\n")
    dialogue.secured()
    dialogue.receive(b"250 x\r\n")
    dialogue.take()
    dialogue.send(Envelope("", (EnvelopeRecipient("b@clinique.mssante.fr"),), 1))
    assert dialogue.take() == b"MAIL FROM:<>\r\n"


def test_secured_without_the_server_s_consent_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError):
        Dialogue(NAME).secured()


@pytest.mark.parametrize("text", ["a@b\r\nDATA", "a@b\nx", "a\0@b"])
def test_an_address_cannot_carry_a_second_command(text: str) -> None:
    dialogue = Dialogue(NAME)
    ready(dialogue, ["PIPELINING"])
    with pytest.raises(ValueError, match="several lines"):
        dialogue.send(Envelope("", (EnvelopeRecipient(text),), 1))


def test_half_an_answer_before_the_question_ends_the_dialogue() -> None:
    dialogue = Dialogue(NAME)
    ready(dialogue, ["PIPELINING"])
    assert dialogue.receive(b"250 2.") == []
    events = dialogue.send(Envelope("", (EnvelopeRecipient("b@clinique.mssante.fr"),), 1))
    assert [words(event) for event in events] == ["Over unexpected_reply"]
    assert dialogue.take() == b""


def start_body() -> Dialogue:
    dialogue = Dialogue(NAME)
    ready(dialogue, ["PIPELINING"])
    dialogue.send(Envelope("", (EnvelopeRecipient("b@clinique.mssante.fr"),), 1))
    dialogue.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    return dialogue


def unstuffed(wire: bytes) -> bytes:
    """What a strict server stores of the bytes after DATA (RFC 5321 §4.5.2)."""
    assert wire == b".\r\n" or wire.endswith(b"\r\n.\r\n")
    lines = wire[:-3].split(b"\r\n")
    assert not any(line == b"." for line in lines)
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"..", b"x", b"\r", b"\n", b"\r\n.\r\n"]), max_size=40).map(b"".join),
    st.integers(0, 2**32),
)
def test_the_body_arrives_as_it_was_however_it_is_cut(body: bytes, seed: int) -> None:
    dialogue = start_body()
    wire = b"".join(dialogue.body(piece) for piece in at_random(seed)(body)) + dialogue.end_body()
    ended = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    assert unstuffed(wire) == ended


def test_enhanced_status_is_the_peer_s_when_it_fits_its_code() -> None:
    assert Reply(550, ("5.1.1 no",)).enhanced == "5.1.1"
    assert Reply(550, ("5.1.1",)).enhanced == "5.1.1"
    assert Reply(550, ("2.1.1 no",)).enhanced == "5.0.0"
    assert Reply(250, ("ok",)).enhanced == "2.0.0"
    assert Reply(451).enhanced == "4.0.0"
