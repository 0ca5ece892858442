"""The text of a message as people search it.

What must always hold: `fold` is the one notion of sameness, for what is searched and for what is looked for; it keeps
substrings (if a is in b, then fold(a) is in fold(b); thirty marks in a row aside), and so does `plain`. A text has no
line feed but between header fields and no NUL but between its sections. Nothing here raises on what a message contains;
reading is linear in the octets looked at, which are bounded whatever the message holds.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from selectolax.lexbor import LexborHTMLParser

from mssante.domain.normal_forms import normalized
from mssante.mime.card import LEAF, Card, Part
from mssante.mime.content import ContentType, parse_content_type, parse_parameters
from mssante.mime.headers import codec_of, decode_text, split_fields, unfold
from mssante.mime.part_reader import decoded

MAX_OCTETS: Final = 1024 * 1024
"""Octets of text parts that are looked at in one message, as they came."""
MAX_PARTS: Final = 1000
MAX_PDF: Final = 16 * 1024 * 1024
_MAX_PART_HEADER: Final = 16_384
_MAX_HEADER: Final = 262_144
_MAX_DEPTH: Final = 500
"""HTML is read up to where it is nested deeper than that: browsers stop at 512, and readers slow down."""

Fold = Callable[[str], str]
Octets = Callable[[int, int], bytes]
"""(start, end) → those octets of a message's content."""
PdfText = Callable[[bytes], str]

# The diacritical marks that stand apart once letters are decomposed, and what NFKD leaves but nobody types.
_MARKS: Final = "".join(map(chr, (*range(0x300, 0x370), *range(0x1AB0, 0x1B00), *range(0x1DC0, 0x1E00))))
_INVISIBLE: Final = "\0\xad\u200b\u200c\u200d\u2060\ufeff"
_TYPED: Final = {
    **dict.fromkeys(_MARKS + _INVISIBLE, ""),
    "œ": "oe",
    "æ": "ae",
    "ø": "o",
    "đ": "d",
    "ł": "l",
    "ı": "i",
    **dict.fromkeys("‘’‚‛ʼ′`", "'"),
    **dict.fromkeys("“”„‟«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
}
_ODD: Final = re.compile("[" + re.escape("".join(_TYPED)) + "]")
_HTML_TAG: Final = re.compile(
    r"<(/?)(?!(?:area|base|br|col|dd|dt|hr|img|input|li|link|meta|option|p|t[dhr]|tbody|wbr)\b)[a-z]", re.I
)
_HTML_BREAK: Final = re.compile(
    r"<(?=/?(?:address|article|aside|blockquote|br|dd|div|dl|dt|footer|h[1-6]|header|hr|li|main|nav|ol|option|p|pre"
    r"|section|table|tbody|td|tfoot|th|thead|tr|ul)\b)",
    re.I,
)


def fold(text: str) -> str:
    """As people type: no case, no accents (é=e, œ=oe, ß=ss, İ=i), typographic signs as on a keyboard, all white space
    one space."""
    if not text.isascii():
        text = normalized("NFKD", text.replace("´", "'")).casefold()
        text = _ODD.sub(lambda found: _TYPED[found[0]], text)
    else:
        text = text.lower().replace("\0", "").replace("`", "'")
    words = " ".join(text.split())
    if not words:
        return " " if text else ""
    return f"{' ' if text[0].isspace() else ''}{words}{' ' if text[-1].isspace() else ''}"


def plain(text: str) -> str:
    """To the letter but for case and the way a letter is composed (RFC 9051 §6.4.4)."""
    return normalized("NFC", normalized("NFC", text.replace("\0", "")).casefold())


class Wanted(msgspec.Struct, frozen=True):
    """What SEARCH looks for: `text`, folded, in the fields `field`, in the body, or (`whole`) in everything."""

    text: str
    field: str = ""
    whole: bool = False

    def found_in(self, text: str) -> bool:
        """Whether a message of this text is meant."""
        if self.whole:
            return self.text in text
        head, _, rest = text.partition("\0")
        if self.field:
            start = self.field + ": "
            return any(self.text in line[len(start) :] for line in head.split("\n") if line.startswith(start))
        return self.text in rest.partition("\0")[2]


def message_text(octets: Octets, card: Card, prepend: bytes, form: Fold, pdf_text: PdfText | None = None) -> str:
    """The text of a message in the `form` of `fold` or `plain`: its header, a field a line (`name: value`); the headers
    of its parts; its text parts. NUL stands between these sections and between the parts."""
    header = prepend + octets(0, min(card.header_length, _MAX_HEADER))
    heads, bodies = [], []
    left = MAX_OCTETS
    for part in islice(card.root.walk(), MAX_PARTS):
        own = header
        if part is not card.root:
            own = octets(part.header_start, min(part.body_start, part.header_start + _MAX_PART_HEADER))
            heads.append(_lines(own, form))
        if part.kind != LEAF:
            continue
        kind, encoding = content_of(own)
        if kind.type.lower() == b"text" and left > 0:
            body = octets(part.body_start, min(part.body_end, part.body_start + left))
            left -= len(body)
            text = part_text(body, encoding, charset_of(kind))
            bodies.append(form(html_text(text) if kind.subtype.lower() == b"html" else text))
        elif pdf_text is not None and kind.kind == b"application/pdf" and part.body_end - part.body_start <= MAX_PDF:
            bodies.append(form(pdf_text(decoded(octets(part.body_start, part.body_end), encoding))))
    return "\0".join((_lines(header, form), "\n".join(heads), *bodies))


def text_parts(root: Part) -> list[Part]:
    """Every leaf, those of messages within included, `MAX_PARTS` at most."""
    return [part for part in islice(root.walk(), MAX_PARTS) if part.kind == LEAF]


def _lines(header: bytes, form: Fold) -> str:
    lines = []
    for line in unfold(header).split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            word = name.strip().lower().translate(None, b"\0\r").decode("latin-1")
            lines.append(f"{word}: {form(decode_text(value.strip()))}")
            if b"''" in value and name.lower().startswith(b"content-"):
                lines.extend(f"{form(text)}" for text in _extended(value))
    return "\n".join(lines)


def _extended(value: bytes) -> Iterator[str]:
    """The values of parameters that name their charset (RFC 2231 §4): file names, above all."""
    for name, text in parse_parameters(value, 0):
        charset, apostrophe, rest = text.partition(b"'")
        if name.endswith(b"*") and apostrophe:
            octets = unquote_to_bytes(rest.partition(b"'")[2])
            yield " ".join(_in_charset(octets, charset).split())


def content_of(header: bytes) -> tuple[ContentType, bytes]:
    """The type of a part and its transfer encoding in lower case."""
    fields = split_fields(header, frozenset({b"content-type", b"content-transfer-encoding"}))
    return parse_content_type(fields.first(b"content-type")), fields.first(b"content-transfer-encoding").lower()


def charset_of(kind: ContentType) -> bytes:
    return next((value for name, value in kind.parameters if name.lower() == b"charset"), b"")


def part_text(octets: bytes, encoding: bytes, charset: bytes) -> str:
    """The text of a part; damaged encodings give what can be read."""
    return _in_charset(decoded(octets, encoding), charset)


def _in_charset(octets: bytes, charset: bytes) -> str:
    """What says Latin-1, or nothing and is not UTF-8, is read as Windows' Latin-1, as every client does."""
    codec = codec_of(charset.decode("ascii", "replace").lower())
    if codec in {"utf_8", "ascii"}:
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            codec = "utf-8" if charset else "cp1252"
    return octets.decode("cp1252" if codec == "latin_1" else codec, "replace")


def html_text(source: str) -> str:
    """What a reader sees of HTML: no tags, scripts and styles; a space where a new block begins."""
    depth = 0
    for tag in _HTML_TAG.finditer(source):
        depth += -1 if tag[1] else 1
        if depth > _MAX_DEPTH:
            source = source[: tag.start()]
            break
    parser = LexborHTMLParser(_HTML_BREAK.sub(" <", source))
    parser.strip_tags(["script", "style", "head"])
    return str(parser.text(separator=""))
