"""The scanner finds the same structure as the message was built of, however it is cut, and whatever it is fed."""

import email
import email.policy
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssante.mime.card import LEAF, MESSAGE, MULTIPART, Card, Part
from mssante.mime.scanner import HeaderTooLarge, Limits, Scanner
from tests.mssante.mime.imap_reader import read
from tests.mssante.mime.trees import Tree, messages


def scan(data: bytes, limits: Limits | None = None) -> Card:
    scanner = Scanner(limits) if limits else Scanner()
    scanner.feed(data)
    return scanner.finish()


def scan_cut(data: bytes, seed: int, longest: int, limits: Limits | None = None) -> Card:
    chance = random.Random(seed)
    scanner = Scanner(limits) if limits else Scanner()
    position = 0
    while position < len(data):
        step = chance.randint(1, longest)
        scanner.feed(data[position : position + step])
        position += step
    return scanner.finish()


def parts_of(card: Card) -> list[Part]:
    found, waiting = [], [card.root]
    while waiting:
        part = waiting.pop()
        found.append(part)
        waiting.extend(part.parts)
    return found


@settings(deadline=None, max_examples=150)
@given(messages())
def test_parts_are_those_the_message_is_built_of(tree: Tree) -> None:
    data = tree.octets()
    card = scan(data)
    assert card.size == len(data)
    assert card.section((), "HEADER") == (0, len(tree.header) + 2)
    for path, leaf in tree.leaves():
        found = card.section(path)
        assert found is not None, path
        assert data[slice(*found)] == leaf.body(), path
        if leaf.message is not None:
            header = card.section(path, "HEADER")
            text = card.section(path, "TEXT")
            assert header is not None and text is not None
            assert data[slice(*header)] == leaf.message.header + b"\r\n"
            assert data[slice(*text)] == leaf.message.body()
        elif len(path) > 1:
            mime = card.section(path, "MIME")
            assert mime is not None
            assert data[slice(*mime)] == leaf.header + b"\r\n"


@settings(deadline=None, max_examples=100)
@given(messages())
def test_structure_tells_sizes_and_lines(tree: Tree) -> None:
    structure = read(scan(tree.octets()).bodystructure)
    _compare(structure, tree)


def _compare(structure: list[object], tree: Tree) -> None:
    if tree.boundary:
        children = [item for item in structure if isinstance(item, list)][: len(tree.parts)]
        for child, part in zip(children, tree.parts, strict=True):
            _compare(child, part)
        assert structure[len(tree.parts)] == b"mixed"
        return
    body = tree.body()
    assert structure[6] == len(body)
    if tree.message is not None:
        assert structure[9] == body.count(b"\n")
        inner = structure[8]
        assert isinstance(inner, list)
        _compare(inner, tree.message)
    elif structure[0] == b"text":
        assert structure[7] == body.count(b"\n")


@settings(deadline=None, max_examples=100)
@given(messages())
def test_contents_are_those_of_the_standard_library(tree: Tree) -> None:
    """Two readers written apart agree on the parts; the library drops the parts' last line end, as we do."""
    data = tree.octets()
    card = scan(data)
    theirs = [
        part.get_payload(decode=True)
        for part in email.message_from_bytes(data, policy=email.policy.compat32).walk()
        if not part.is_multipart()
    ]
    ours = [data[part.body_start : part.body_end] for part in _in_order(card.root) if part.kind == LEAF]
    assert ours == theirs


def _in_order(part: Part) -> list[Part]:
    return [part, *(inner for each in part.parts for inner in _in_order(each))]


@settings(deadline=None, max_examples=100)
@given(messages(), st.integers(0, 2**32), st.sampled_from((1, 2, 7, 80, 4_000)))
def test_cuts_make_no_difference(tree: Tree, seed: int, longest: int) -> None:
    data = tree.octets()
    assert scan_cut(data, seed, longest) == scan(data)


_PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"--a",
    b"--ab",
    b"--a--",
    b"--ab--",
    b"\r\n\r\n",
    b"\r\n--a\r\n",
    b"\r\n--ab\r\n",
    b"Content-Type: text/plain\r\n",
    b"Content-Type: multipart/mixed; boundary=ab\r\n\r\n",
    b"Content-Type: multipart/digest; boundary=a\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"x",
    b" ",
    b"-",
)
_SMALL = Limits(header=400, part_header=40, part_headers=300, parts=12, depth=5)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(_PIECES), max_size=40).map(b"".join), st.integers(0, 2**32), st.booleans())
def test_any_octets_make_a_well_formed_card(rest: bytes, seed: int, small: bool) -> None:
    """Whatever comes, and with limits reached: one card, the same for every cut, whose parts lie within each other."""
    data = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + rest
    limits = _SMALL if small else Limits()
    try:
        card = scan(data, limits)
    except HeaderTooLarge:
        with pytest.raises(HeaderTooLarge):
            scan_cut(data, seed, 3, limits)
        return
    assert scan_cut(data, seed, 3, limits) == card
    assert scan_cut(data, seed, 30, limits) == card
    assert card.root.body_end == len(data) == card.size
    for part in parts_of(card):
        assert part.header_start <= part.body_start <= part.body_end
        previous = part.body_start
        for inner in part.parts:
            assert previous <= inner.header_start
            previous = inner.body_end
        assert previous <= part.body_end
    assert len(parts_of(card)) <= limits.parts
    read(card.envelope)
    read(card.bodystructure)
    read(card.body)
    assert Card.decode(card.encode()) == card


def part(header: bytes, body: bytes) -> bytes:
    return header + b"\r\n\r\n" + body


def test_ten_thousand_parts() -> None:
    data = part(b"Content-Type: multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n" * 20_000 + b"--b--\r\n")
    for limits in (Limits(parts=10_000), Limits(), Limits(parts=3)):
        card = scan(data, limits)
        assert len(card.root.parts) == limits.parts - 1
        assert card.root.body_end == len(data)


_ONE = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
_NEST = b"".join(b"Content-Type: multipart/mixed; boundary=b%02d\r\n\r\n--b%02d\r\n" % (n, n) for n in range(49))
HOSTILE: list[tuple[str, bytes]] = [
    ("line starts like delimiters", _NEST + b"\r\n" + b"\n--" * 1_000_000),
    ("nothing but line ends", _NEST + b"\r\n" + b"\n" * 1_000_000),
    ("the outermost delimiter again and again", _NEST + b"\r\n--b00\r\n" * 100_000),
    ("one boundary at every depth", _NEST.replace(b"b0", b"b") + b"\r\n--b\r\n" * 100_000),
    (
        "parts of many header lines",
        b"Content-Type: multipart/x; boundary=b\r\n\r\n" + (b"--b\r\n" + b":\n" * 40_000) * 20,
    ),
    ("a delimiter line without end", b"Content-Type: multipart/x; boundary=b\r\n\r\n--b" + b" " * 3_000_000),
    ("parameters without value", b"Content-Type: a/b; " + b"x" * 250_000 + b"\r\n\r\n"),
    ("nothing but separators", b"Content-Type: a/b" + b";" * 250_000 + b"\r\n\r\n"),
    ("nothing but equal signs", b"Content-Type: a/b;" + b"=" * 250_000 + b"\r\n\r\n"),
    ("very many parameters", b"Content-Type: a/b" + b";a*1=b" * 40_000 + b"\r\n\r\n"),
    ("very many languages", b"Content-Language: " + b"a," * 120_000 + b"\r\n\r\n"),
    ("very many senders", b"From:a@b.test\r\n" * 16_000 + b"\r\n"),
    ("a subject of encoded words", b"Subject: " + b"=?utf-8?q?a?= " * 18_000 + b"\r\n\r\n"),
]


@pytest.mark.parametrize("data", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_structure_takes_linear_time(data: bytes) -> None:
    """Each of these would take minutes if any step were quadratic (one of them did)."""
    card = scan(data)
    assert card.size == len(data)
    assert card.body.startswith(b"(")
    assert len(card.encode()) < 2_000_000


@pytest.mark.parametrize("kind", ["multipart", "message"])
def test_thousand_deep(kind: str) -> None:
    """Beyond the depth that is read, the rest is one opaque part; nothing recurses."""
    if kind == "multipart":
        data = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%04d\r\n\r\n--b%04d\r\n" % (number, number)
            for number in range(1_000)
        )
    else:
        data = b"Content-Type: message/rfc822\r\n\r\n" * 1_000
    card = scan(data + b"\r\ntext\r\n")
    assert len(parts_of(card)) == 50
    deepest = parts_of(card)[-1]
    assert deepest.kind == LEAF
    assert deepest.body_end == card.size
    assert b'"application" "octet-stream"' in card.bodystructure
    assert card.body.startswith(b"(")
    assert Card.decode(card.encode()) == card


def test_same_boundary_at_every_depth() -> None:
    """The innermost multipart takes a boundary that several have; the rest is then seen as its epilogue."""
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    card = scan(head * 3 + b"\r\nx\r\n--b--\r\n--b--\r\n--b--\r\n")
    assert [part.kind for part in _in_order(card.root)] == [MULTIPART, MULTIPART, MULTIPART, LEAF]


def test_boundary_that_begins_another() -> None:
    """The longest open boundary that matches a line wins (``b`` is open while ``bb`` is)."""
    inner = part(
        b"Content-Type: multipart/alternative; boundary=bb", b"--bb\r\n\r\none\r\n--bb\r\n\r\ntwo\r\n--bb--\r\n"
    )
    data = part(b"Content-Type: multipart/mixed; boundary=b", b"--b\r\n" + inner + b"--b\r\n\r\nthree\r\n--b--\r\n")
    card = scan(data)
    texts = [data[part.body_start : part.body_end] for part in _in_order(card.root) if part.kind == LEAF]
    assert texts == [b"one", b"two", b"three"]


@pytest.mark.parametrize("ending", [b"", b"--b", b"--b\r\n", b"\r\n--b--x"])
def test_missing_end_boundary(ending: bytes) -> None:
    data = part(b"Content-Type: multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n" + ending)
    card = scan(data)
    assert card.root.body_end == len(data)
    assert data[slice(*(card.section((1,)) or (0, 0)))].startswith(b"x")


def test_outer_boundary_ends_inner_parts_that_were_not_closed() -> None:
    inner = part(b"Content-Type: multipart/mixed; boundary=i", b"--i\r\n\r\none")
    data = part(b"Content-Type: multipart/mixed; boundary=o", b"--o\r\n" + inner + b"\r\n--o\r\n\r\ntwo\r\n--o--")
    card = scan(data)
    assert data[slice(*(card.section((1, 1)) or (0, 0)))] == b"one"
    assert data[slice(*(card.section((2,)) or (0, 0)))] == b"two"


@pytest.mark.parametrize("boundary", [b"", b"x" * 201, b"x" * 100_000])
def test_boundary_that_cannot_be_used_shows_the_text(boundary: bytes) -> None:
    """RFC 2045 §5.2: what cannot be understood is shown as text/plain rather than hidden."""
    card = scan(part(b'Content-Type: multipart/mixed; boundary="' + boundary + b'"', b"--x\r\n\r\nhello\r\n"))
    assert card.root.kind == LEAF
    assert read(card.bodystructure)[:2] == [b"text", b"plain"]


@pytest.mark.parametrize(
    "data", [b"", b"\r", b"\n", b"\r\n", b"Subject: x", b"Subject: x\r\n", b"no colon\r\nnor here\r\n"]
)
def test_header_without_end_is_all_there_is(data: bytes) -> None:
    card = scan(data)
    assert (card.header_length, card.size) == (len(data), len(data))


def test_header_too_large() -> None:
    limits = Limits(header=100)
    exact = b"X: " + b"x" * 93 + b"\r\n\r\n"
    assert len(exact) == 100
    assert scan(exact + b"body", limits).header_length == 100
    for data in (b"X: y\r\n" * 100, exact.replace(b"x", b"xx", 1) + b"body", b"x" * 101):
        with pytest.raises(HeaderTooLarge):
            scan(data, limits)
        with pytest.raises(HeaderTooLarge):
            scan_cut(data, 1, 3, limits)


def test_part_header_too_large_goes_on_as_body() -> None:
    data = part(
        b"Content-Type: multipart/mixed; boundary=b", b"--b\r\n" + b"X: y\r\n" * 100 + b"\r\nz\r\n--b\r\n\r\nnext"
    )
    card = scan(data, Limits(part_header=50))
    start, end = card.section((1,), "MIME") or (0, 0)
    assert data[start:end] == b"X: y\r\n" * 8
    assert data[slice(*(card.section((2,)) or (0, 0)))] == b"next"


def test_digest_parts_are_messages() -> None:
    """RFC 2046 §5.1.5."""
    data = part(b"Content-Type: multipart/digest; boundary=b", b"--b\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b--\r\n")
    card = scan(data)
    assert card.root.parts[0].kind == MESSAGE
    assert read(card.bodystructure)[0][7][1] == b"inner"


def test_bare_line_feeds_are_read_too() -> None:
    """A store of before may hold them; what the network brings is refused earlier."""
    data = b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n\none\n--b\n\ntwo\n--b--\n"
    card = scan(data)
    assert [data[each.body_start : each.body_end] for each in card.root.parts] == [b"one", b"two"]


def told(data: bytes, seed: int, longest: int) -> bytes:
    """The text that a digest is told."""
    chance, told, position = random.Random(seed), Told(), 0
    scanner = Scanner(text=told)
    while position < len(data):
        step = chance.randint(1, longest)
        scanner.feed(data[position : position + step])
        position += step
    scanner.finish()
    return bytes(told.octets)


class Told:
    def __init__(self) -> None:
        self.octets = bytearray()

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self.octets += data


@settings(deadline=None, max_examples=150)
@given(messages(), st.integers(0, 1000), st.integers(1, 80))
def test_the_text_is_the_same_however_it_is_cut(tree: Tree, seed: int, longest: int) -> None:
    data = tree.octets()
    text = told(data, 0, max(1, len(data)))
    assert told(data, seed, longest) == text
    at = 0
    for leaf in sorted((part for part in parts_of(scan(data)) if part.kind == LEAF), key=lambda part: part.body_start):
        content = data[leaf.body_start : leaf.body_end]
        at = text.find(content, at)  # each part's octets, in their order
        assert at >= 0
        at += len(content)


@pytest.mark.parametrize("boundary", [b"b", b"=_a.very-long.boundary/of'another+program"])
@pytest.mark.parametrize("field", [b"", b"Content-ID: <1@x>\r\n"])
def test_the_text_has_neither_boundaries_nor_headers(boundary: bytes, field: bytes) -> None:
    data = (
        b'Content-Type: multipart/mixed; boundary="%b"\r\n%b\r\n--%b\r\n%b\r\nUn.\r\n--%b\r\n%b\r\nDeux.\r\n--%b--\r\n'
    ) % (boundary, field, boundary, field, boundary, field, boundary)
    assert told(data, 0, 1000) == b"Un.\rDeux.\r--\r\n"
