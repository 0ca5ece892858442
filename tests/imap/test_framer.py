"""The framer: where commands end, whatever the cuts; limits before octets."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap.framer import (
    BEFORE_LOGIN,
    Command,
    Continue,
    Event,
    Fault,
    Framer,
    Limits,
    MessageData,
    MessageEnd,
    MessageStart,
)

LIMITS = Limits(line=100, command=200, message=1000, discard=3000)


def play(data: bytes, cuts: list[int], limits: Limits, refuse: bool = False) -> list[Event]:
    """All events of `data` fed in pieces that end at `cuts`; message data joined."""
    framer = Framer(limits)
    events: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        framer.feed(data[start:end])
        while (event := framer.next_event()) is not None:
            if isinstance(event, MessageStart) and refuse:
                framer.refuse_message(event)
            if isinstance(event, MessageData) and events and isinstance(events[-1], MessageData):
                events[-1] = MessageData(events[-1].data + event.data)
            else:
                events.append(event)
    return events


_pieces = st.sampled_from(
    [
        b"a1 NOOP\r\n",
        b"a2 LOGIN {3}\r\nabc {2+}\r\nde\r\n",
        b"a3 APPEND INBOX {5}\r\nhello\r\n",
        b"\r\n",
        b"\n",
        b"{",
        b"}",
        b"a4 APPEND {5+}\r\nINBOX (\\Seen) ~{4+}\r\n1\r\n2)\r\n",
        b"a5 APPEND x {2000+}\r\n",
        b"x" * 90,
        b"y" * 120,
        b" {9}\r\n",
        b" {150+}\r\n",
        b" {250+}\r\n",
        b" {4000+}\r\n",
        b"a6 APPEND x {900+}\r\n",
        b"{0}\r\n",
        b"{0+}\r\n",
        b"\x00",
        b"\xff\r",
        b"a7 UID REPLACE 3 INBOX {3+}\r\nabc\r\n",
        b"a8 APPEND x {1+}\r\ny {2+}\r\nzz\r\n",
        b"{99999999999999999999+}\r\n",
    ]
)


@given(st.lists(_pieces, max_size=12), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_the_events_depend_on_the_octets_not_on_the_cuts(
    pieces: list[bytes], seed: int, refuse: bool, signed_in: bool
) -> None:
    data = b"".join(pieces)
    limits = LIMITS if signed_in else Limits(line=100, command=200)
    whole = play(data, [], limits, refuse)
    assert play(data, list(range(1, len(data))), limits, refuse) == whole
    cuts = sorted(random.Random(seed).sample(range(len(data) + 1), min(len(data), 5)))
    assert play(data, cuts, limits, refuse) == whole


@given(st.binary(max_size=400))
def test_any_octets_end_in_events_and_bounded_memory(data: bytes) -> None:
    framer = Framer(LIMITS)
    for octet in data * 3:
        framer.feed(bytes([octet]))
        while framer.next_event() is not None:
            assert framer.buffered <= LIMITS.command
        assert framer.buffered <= LIMITS.command + 1


def test_literals_stand_between_texts() -> None:
    data = b"a LOGIN {5}\r\nalice {3+}\r\nx\r\n\r\nb NOOP\r\n"
    assert play(data, [], BEFORE_LOGIN) == [
        Continue(),
        Command((b"a LOGIN ", b" ", b""), (b"alice", b"x\r\n")),
        Command((b"b NOOP",)),
    ]


def test_a_message_streams_and_its_mailbox_name_does_not() -> None:
    data = b"a APPEND {5+}\r\nINBOX (\\Seen) {8+}\r\nA: b\r\n\r\n\r\nb NOOP\r\n"
    assert play(data, [], LIMITS) == [
        MessageStart(Command((b"a APPEND ", b" (\\Seen) "), (b"INBOX",)), 8, False),
        MessageData(b"A: b\r\n\r\n"),
        MessageEnd(Command((b"",))),
        Command((b"b NOOP",)),
    ]


def test_before_login_nothing_streams() -> None:
    assert play(b"a APPEND INBOX {5+}\r\nhello\r\n", [], BEFORE_LOGIN) == [
        Command((b"a APPEND INBOX ", b""), (b"hello",))
    ]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"a LOGIN {12289}\r\n", Fault(b"a", "Literal too large", "TOOBIG")),
        (b"a LOGIN {12289+}\r\n", Fault(b"a", "Literal too large", "TOOBIG", fatal=True)),
        (
            b"a LOGIN {7000+}\r\n" + b"x" * 7000 + b" {6000+}\r\n",
            Fault(b"a", "Literal too large", "TOOBIG", fatal=True),
        ),
        (b"a " + b"x" * 13_000, Fault(b"a", "Command line too long", "TOOBIG", fatal=True)),
        (b"x" * 13_000, Fault(None, "Command line too long", "TOOBIG", fatal=True)),
    ],
)
def test_limits_before_login(data: bytes, fault: Fault) -> None:
    events = play(data, [], BEFORE_LOGIN)
    assert events[-1] == fault
    assert len(events) == 1


def test_a_refused_literal_is_dropped_and_the_next_command_understood() -> None:
    data = b"a SEARCH TEXT {300+}\r\n" + b"b NOOP\r\n" * 37 + b"xxxx {8+}\r\nc NOOP\r\n\r\nd NOOP\r\n"
    assert play(data, [], LIMITS) == [Fault(b"a", "Literal too large", "TOOBIG"), Command((b"d NOOP",))]


def test_a_refused_line_is_dropped_with_the_literals_it_announces() -> None:
    data = b"a SEARCH " + b"x" * 500 + b" {8+}\r\nb NOOP\r\n tail\r\nc NOOP\r\n"
    assert play(data, [], LIMITS) == [Fault(b"a", "Command line too long", "TOOBIG"), Command((b"c NOOP",))]


def test_refused_input_has_an_end() -> None:
    data = b"a SEARCH " + b"x" * 4000
    assert play(data, [], LIMITS) == [
        Fault(b"a", "Command line too long", "TOOBIG"),
        Fault(None, "Too much refused input", "", fatal=True),
    ]


def test_after_a_fatal_fault_nothing_is_read() -> None:
    framer = Framer(BEFORE_LOGIN)
    framer.feed(b"a LOGIN {99999+}\r\n")
    assert isinstance(framer.next_event(), Fault)
    framer.feed(b"b NOOP\r\n")
    assert framer.next_event() is None
    assert framer.buffered == 0


def test_a_line_that_answers_a_continuation() -> None:
    framer = Framer(BEFORE_LOGIN)
    framer.feed(b"a AUTHENTICATE PLAIN\r\nAGEAYg==\r")
    assert framer.next_event() == Command((b"a AUTHENTICATE PLAIN",))
    assert framer.next_line() is None
    framer.feed(b"\nb NOOP\r\n")
    line = framer.next_line()
    assert not isinstance(line, Fault) and line is not None and line.data == b"AGEAYg=="
    assert framer.next_event() == Command((b"b NOOP",))
    assert framer.idle


def test_a_bare_line_feed_ends_a_line_too() -> None:
    assert play(b"a NOOP\nb NOOP\r\n", [], BEFORE_LOGIN) == [Command((b"a NOOP",)), Command((b"b NOOP",))]
