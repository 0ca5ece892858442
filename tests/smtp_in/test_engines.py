"""The parts without I/O: the same octets give the same lines and the same message however they are cut."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from mssante.domain.verdict import Rule
from smtp_in.admission import Admission
from smtp_in.body import Body, Chunks
from smtp_in.framer import Framer, LineFault

TRICKY = st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\r\n.", b"\r\n.\r\n", b"\0", b"x", b"yz" * 7, b"\r\n..\r\n"])
STREAMS = st.lists(TRICKY, max_size=40).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted(min(cut, len(data)) for cut in cuts)
    parts = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    return [part for part in parts if part]


def lines_of(stream: list[bytes], limit: int) -> list[bytes | LineFault]:
    framer = Framer(limit)
    lines: list[bytes | LineFault] = []
    for piece in stream:
        framer.feed(piece)
        while (line := framer.line()) is not None:
            lines.append(line)
        assert len(framer) <= limit
    return lines


def lines_by_the_book(stream: bytes, limit: int) -> list[bytes | LineFault]:
    lines: list[bytes | LineFault] = []
    for line in stream.split(b"\n")[:-1]:
        if not line.endswith(b"\r"):
            lines.append(LineFault.BARE_LF)
        elif len(line) + 1 > limit:
            lines.append(LineFault.TOO_LONG)
        elif b"\r" in line[:-1] or b"\0" in line:
            lines.append(LineFault.FORBIDDEN)
        else:
            lines.append(line[:-1])
    return lines


@given(STREAMS, CUTS)
def test_lines_however_they_are_cut(stream: bytes, cuts: list[int]) -> None:
    assert lines_of(pieces(stream, cuts), 16) == lines_by_the_book(stream, 16)


def test_what_was_taken_too_much_comes_first_again() -> None:
    framer = Framer(100)
    framer.feed(b"DATA\r\ncorps\r\n.\r\nQU")
    assert framer.line() == b"DATA"
    assert framer.take() == b"corps\r\n.\r\nQU"
    framer.feed(b"IT\r\n")
    framer.put_back(b"QU")
    assert framer.line() == b"QUIT"
    assert framer.line() is None
    assert len(framer) == 0


Message = tuple[bytes, Rule | None, bytes | None]


def message_of(stream: list[bytes], max_line: int = 20, max_size: int = 60) -> Message:
    """Content (as far as it is worth something), fault, and what came after the end."""
    body = Body(max_line, max_size)
    content, rest = b"", b""
    for piece in stream:
        if body.rest is not None:
            rest += piece
            continue
        content += body.feed(piece)
        rest = body.rest or b""
    assert body.fault is not None or body.size == len(content)
    return (b"" if body.fault else content), body.fault, rest if body.rest is not None else None


def message_by_the_book(
    stream: bytes, max_line: int = 20, max_size: int = 60
) -> tuple[bytes, Rule | None, bytes | None]:
    """The same, line by line as RFC 5321 §4.5.2 tells it."""
    whole, end, rest = (b"\r\n" + stream).partition(b"\r\n.\r\n")
    if not end:
        return b"", None, None
    lines = whole.split(b"\r\n")[1:]
    undotted = [line[1:] if line.startswith(b".") else line for line in lines]
    content = b"".join(line + b"\r\n" for line in undotted)
    if any(b"\r" in line or b"\n" in line or b"\0" in line or len(line) + 2 > max_line for line in undotted):
        return b"", Rule.MESSAGE_CONTENT, rest
    return (b"", Rule.MESSAGE_TOO_LARGE, rest) if len(content) > max_size else (content, None, rest)


@given(STREAMS, CUTS)
@example(b"x\ry\nz", [])  # among the newlines alone these two are a pair
@example(b"x\ry\n.\r\nNOOP", [3])
@example(b"\r.\n", [1])
def test_message_however_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    whole = stream + b"\r\n.\r\nNOOP\r\n"
    assert message_of(pieces(whole, cuts)) == message_by_the_book(whole)


@given(STREAMS, CUTS)
@example(b"x\ry\nz", [1])
def test_chunks_however_they_are_cut(stream: bytes, cuts: list[int]) -> None:
    """No dots and no end in the stream: the octets themselves, the last line ended."""
    chunks = Chunks(20, 60)
    content = b"".join([*map(chunks.feed, pieces(stream, cuts)), chunks.end()])
    whole = stream if not stream or stream.endswith(b"\r\n") else stream + b"\r\n"
    lines = whole.split(b"\r\n")
    if any(octet in line for octet in (b"\r", b"\n", b"\0") for line in lines) or max(map(len, lines)) > 18:
        assert chunks.fault is Rule.MESSAGE_CONTENT
    else:
        assert content == whole
        assert chunks.fault is (Rule.MESSAGE_TOO_LARGE if len(whole) > 60 else None)


@given(st.lists(st.sampled_from([b"", b".", b"..", b"a" * 18, b"b"]), max_size=8), CUTS)
def test_dots_doubled_and_undoubled(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    doubled = b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines)
    assert message_of(pieces(doubled + b".\r\n", cuts), 20, 1000) == (content, None, b"")


def test_a_message_holds_back_four_octets_at_most() -> None:
    body = Body(1000, 1000)
    given_out = body.feed(b"ligne\r\n.\r")
    assert given_out == b"ligne"
    assert body.feed(b"x") == b"\r\n\rx"
    assert body.fault is Rule.MESSAGE_CONTENT


def test_large_pieces_are_looked_at_whole() -> None:
    line = b"x" * 998 + b"\r\n"
    body = Body(1000, 1 << 22)
    assert body.feed(line * 1000) + body.feed(b".\r\n") == line * 1000
    assert (body.fault, body.rest) == (None, b"")
    late = Body(1000, 1 << 22)
    late.feed(line * 900 + b"y" + line * 100)
    assert late.fault is Rule.MESSAGE_CONTENT


def test_admission_counts_each_once() -> None:
    admission = Admission(3, 2)
    assert [admission.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert admission.enter("192.0.2.2")
    assert not admission.enter("192.0.2.3")
    admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.3")
    assert not admission.enter("192.0.2.1")
    admission.adopt(10, 2)
    assert admission.enter("192.0.2.1")
    assert admission.count == 4
