"""Random MIME trees, each with what it is made of, for tests to compare against.

What must always hold: the octets are built here by hand, so that what is expected does not come from a parser.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st

_SUBTYPES = ("plain", "html")
_LINE_TEXT = st.text(alphabet="abc éàü-=_.", max_size=40).map(lambda text: text.encode())


@dataclass
class Tree:
    """One part: its header, and either its octets, its parts or the message within."""

    header: bytes
    content: bytes = b""
    parts: list["Tree"] = field(default_factory=list)
    message: "Tree | None" = None
    boundary: bytes = b""
    preamble: bytes = b""
    epilogue: bytes = b""
    closed: bool = True

    def body(self) -> bytes:
        if self.message is not None:
            return self.message.octets()
        if not self.boundary:
            return self.content
        pieces = [self.preamble]
        for part in self.parts:
            pieces.append(b"--" + self.boundary + b"\r\n" + part.octets() + b"\r\n")
        if self.closed:
            pieces.append(b"--" + self.boundary + b"--\r\n" + self.epilogue)
        return b"".join(pieces)

    def octets(self) -> bytes:
        return self.header + b"\r\n" + self.body()

    def leaves(self, path: tuple[int, ...] = (), *, message: bool = True) -> list[tuple[tuple[int, ...], "Tree"]]:
        """Every part that is no multipart with its IMAP section number, in order (RFC 3501 §6.4.5)."""
        if self.boundary:
            found = []
            for number, part in enumerate(self.parts, start=1):
                found += part.leaves((*path, number), message=False)
            return found
        place = (*path, 1) if message else path
        found = [(place, self)]
        if self.message is not None:
            found += self.message.leaves(place)
        return found


@st.composite
def _content(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(_LINE_TEXT, max_size=6))
    text = b"\r\n".join(lines)
    return text + draw(st.sampled_from((b"", b"\r\n")))


@st.composite
def trees(draw: st.DrawFn, depth: int = 3, name: bytes = b"0") -> Tree:
    """A part of random kind. Boundaries are unlike each other and unlike any content, unless made to be prefixes."""
    kind = draw(st.sampled_from(("text", "binary", "multipart", "message") if depth else ("text", "binary")))
    extra = draw(st.sampled_from((b"", b"Content-ID: <part@test>\r\n", b"Content-Description: =?utf-8?q?=C3=A9?=\r\n")))
    if kind == "multipart":
        # Nested boundaries often start alike; every second one here is its parent's with something added.
        boundary = b"=_" + name
        parts = draw(st.integers(1, 3))
        header = b'Content-Type: multipart/mixed;\r\n\tboundary="' + boundary + b'"\r\n' + extra
        return Tree(
            header,
            parts=[draw(trees(depth=depth - 1, name=name + b".%d" % number)) for number in range(parts)],
            boundary=boundary,
            preamble=draw(st.sampled_from((b"", b"This is a message in several parts.\r\n"))),
            epilogue=draw(st.sampled_from((b"", b"\r\nafterwards"))),
        )
    if kind == "message":
        header = b"Content-Type: message/rfc822\r\n" + extra
        inner = draw(trees(depth=depth - 1, name=name + b"m"))
        inner.header = b"From: =?utf-8?q?H=C3=A9l=C3=A8ne?= <h@cabinet.test>\r\nSubject: transmis\r\n" + inner.header
        return Tree(header, message=inner)
    if kind == "binary":
        return Tree(b"Content-Type: application/pdf\r\n" + extra, content=draw(_content()))
    subtype = draw(st.sampled_from(_SUBTYPES)).encode()
    return Tree(b"Content-Type: text/" + subtype + b"; charset=utf-8\r\n" + extra, content=draw(_content()))


@st.composite
def messages(draw: st.DrawFn) -> Tree:
    """A whole message."""
    tree = draw(trees())
    tree.header = (
        b"From: jean.dupont@clinique.test\r\nTo: h@cabinet.test\r\nSubject: essai\r\n"
        b"Date: Sat, 22 Nov 2025 10:00:00 +0100\r\nMIME-Version: 1.0\r\n" + tree.header
    )
    return tree
