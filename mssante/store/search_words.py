"""Blocks: what the texts of up to `BLOCK` messages say, laid out so that any substring of any word is found quickly.

Always true here:
- an answer names every message that holds what is wanted, and when it says so (`exact`) no other;
- bytes in, bytes out: nothing here knows keys, rows or folders. Texts are those of `mime.text`, folded.

A block has numbered parts: the uids; for each of `FIELDS` a column, one line a message, its values each after a NUL;
two vocabularies, of headers and of bodies, the words one a line, those of most messages first, a line of `_MARK` after
each `_TOGETHER`; and their lists, the messages that have each word, `_TOGETHER` words a part: little-endian numbers of
16 bits, or a map of `BLOCK` bits.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from mssante.mime.text import Wanted

BLOCK: Final = 1024
"""Messages of a block."""
FIELDS: Final = ("subject", "from", "to", "cc", "bcc")
UIDS, _COLUMNS, _HEADS, _BODIES, LISTS = 0, 1, 6, 7, 8
_MAP: Final = BLOCK // 8
_TOGETHER: Final = 1024
_ASKED: Final = 16
"""Words of a text that are looked up: the rest is left to who reads the messages that are left."""
_MARK: Final = b"\1"
"""Stands in no word and no header field: lines are counted from the last mark, not from the start."""
_WORD: Final = re.compile(r"[^\W_]+")

Parts = Callable[[int], bytes]
Found = tuple[int, bool]
"""The messages as a map of bits, and whether that is exact."""


def build(uids: list[int], texts: list[str]) -> dict[int, bytes]:
    """The parts of the block of these messages."""
    columns: list[list[str]] = [[] for _ in FIELDS]
    words: tuple[dict[str, list[int]], dict[str, list[int]]] = {}, {}
    for place, text in enumerate(texts):
        head, _, rest = text.partition("\0")
        others, _, body = rest.partition("\0")
        for column, field in zip(columns, FIELDS, strict=True):
            start = field + ": "
            column.append("".join(["\0" + line[len(start) :] for line in head.split("\n") if line.startswith(start)]))
        for held, said in zip(words, (f"{head}\n{others}", body), strict=True):
            for word in set(_WORD.findall(said)):
                held.setdefault(word, []).append(place)
    parts = {UIDS: array("I", uids).tobytes()}
    for number, column in enumerate(columns, _COLUMNS):
        parts[number] = _lines(column)
    for kind, held in zip((_HEADS, _BODIES), words, strict=True):
        ordered = sorted(held.items(), key=lambda one: -len(one[1]))
        vocabulary = [word for word, _ in ordered]
        for end in range(len(vocabulary) // _TOGETHER, 0, -1):
            vocabulary.insert(end * _TOGETHER, _MARK.decode())
        parts[kind] = _lines(vocabulary)
        for chunk in range(-(-len(ordered) // _TOGETHER)):
            lists = [_packed(having) for _, having in ordered[chunk * _TOGETHER : (chunk + 1) * _TOGETHER]]
            sizes = array("H", map(len, lists)).tobytes()
            parts[_list_part(kind, chunk)] = b"".join((len(lists).to_bytes(2, "big"), sizes, *lists))
    return parts


def numbers(parts: Parts) -> Iterator[int]:
    """The parts that a block must have."""
    yield from range(LISTS)
    for kind in (_HEADS, _BODIES):
        lines = parts(kind).count(b"\n") - 1
        yield from (_list_part(kind, chunk) for chunk in range(-(-lines // (_TOGETHER + 1))))


def search(parts: Parts, count: int, wanted: Wanted) -> Found:
    """Which of the block's `count` messages may be meant."""
    every = (1 << count) - 1
    if wanted.field in FIELDS:
        bits = 0
        for place in _lines_with(parts(_COLUMNS + FIELDS.index(wanted.field)), wanted.text.encode() or b"\0"):
            bits |= 1 << place
        return bits, True
    if wanted.field:
        bits = _having(parts, _HEADS, wanted.text, every)
        return bits if bits != every else _having(parts, _HEADS, f"\n{wanted.field}: ", every), False
    bits = _having(parts, _BODIES, wanted.text, every)
    if wanted.whole and bits != every:
        bits |= _having(parts, _HEADS, wanted.text, every)
    return bits, not wanted.text or _WORD.fullmatch(wanted.text) is not None


def _having(parts: Parts, kind: int, text: str, every: int) -> int:
    """The messages that have all words of the text, its first and last perhaps as the end and beginning of longer
    ones; of very many words the longest."""
    patterns = {"\n" * (word.start() > 0) + word[0] + "\n" * (word.end() < len(text)) for word in _WORD.finditer(text)}
    bits, words = every, parts(kind) if patterns else b""
    for pattern in sorted(patterns, key=len, reverse=True)[:_ASKED]:
        bits &= _messages(parts, kind, _lines_with(words, pattern.encode()), every)
        if not bits:
            break
    return bits


def _messages(parts: Parts, kind: int, lines: Iterator[int], every: int) -> int:
    """The messages that have any of the words on these lines; the words of most messages come first."""
    bits, held = 0, -1
    ends: list[int] = []
    data = memoryview(b"")
    for line in lines:
        chunk, place = divmod(line, _TOGETHER + 1)
        if chunk != held:
            held = chunk
            data = memoryview(parts(_list_part(kind, chunk)))
            count = int.from_bytes(data[:2], "big")
            ends = list(accumulate(array("H", data[2 : 2 + 2 * count].tobytes()), initial=2 + 2 * count))
        bits |= _unpacked(data[ends[place] : ends[place + 1]])
        if bits == every:
            break
    return bits


def _lines(lines: list[str]) -> bytes:
    return "\n".join(("", *lines, "")).encode("utf-8", "surrogatepass")


def _lines_with(lines: bytes, pattern: bytes) -> Iterator[int]:
    """Numbers of the lines, each once, that the pattern is in; a line feed at its ends is that before or after the
    line."""
    own = pattern.startswith(b"\n")
    passed, number = 0, -1
    at = lines.find(pattern)
    while at >= 0:
        here = at + own
        mark = lines.rfind(_MARK, passed, here)
        if mark >= 0:
            passed, number = mark, lines.count(_MARK, 0, here) * (_TOGETHER + 1) - 1
        number += lines.count(b"\n", passed, here)
        yield number
        passed = here
        after = lines.find(b"\n", here)
        at = lines.find(pattern, after) if after >= 0 else -1


def _list_part(kind: int, chunk: int) -> int:
    return LISTS + 2 * chunk + (kind == _BODIES)


def _packed(places: list[int]) -> bytes:
    if len(places) < _MAP // 2:
        return array("H", places).tobytes()
    bits = bytearray(_MAP)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def _unpacked(data: memoryview) -> int:
    if len(data) == _MAP:
        return int.from_bytes(data, "little")
    bits = 0
    for place in array("H", data.tobytes()):
        bits |= 1 << place
    return bits


def places(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
