"""Reading of header blocks.

What must always hold:

- A header block is taken as it came: eight-bit octets, folding, repeated, empty and misspelt fields are data. Nothing
  here raises on the content of a header, and every function is linear in its length.
- `header_fields` gives octets of the message unchanged (RFC 3501 §6.4.5): folding, case and spacing are kept.
"""

import re
from collections.abc import Iterable
from encodings.aliases import aliases
from functools import lru_cache
from itertools import chain
from typing import Final

from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.transaction import HeaderFacts
from mssante.mime.addresses import author_addresses, parse_addresses
from mssante.mime.part_reader import from_base64

MAX_REFERENCES: Final = 100
"""Message identifiers kept of one References field, the newest."""

_FACTS: Final = frozenset(
    {b"subject", b"x-mss-mes", b"from", b"sender", b"message-id", b"references", b"in-reply-to", b"received"}
)
_ANSWERED: Final = frozenset({b"reply-to", b"to", b"cc"})
MAX_NAMED: Final = 100
_MESSAGE_ID: Final = re.compile(rb"<[^<>\s]++>")
_ENCODED_WORD: Final = re.compile(rb"=\?([^?*\s]++)(?:\*[^?\s]*+)?\?([bBqQ])\?([^?]*+)\?=")
_ESCAPED: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
# Only charsets known from the start: a stranger's name that is looked up is remembered for ever, some codecs are no
# charsets, are quadratic (punycode) or read program text (unicode_escape), and utf-7 can make half a character.
_NO_CHARSETS: Final = frozenset(
    {"base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "utf_7", "uu_codec", "zlib_codec"}
)
_CODECS: Final = {
    name: codec for alias, codec in aliases.items() if codec not in _NO_CHARSETS for name in (alias, codec)
}
_CONTROLS: Final = dict.fromkeys((*range(9), *range(10, 32), 127))


def unfold(header: bytes) -> bytes:
    """The block with every folded field on one line; the white space that began a continuation is kept."""
    header = header.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
    return header.replace(b"\n ", b" ").replace(b"\n\t", b"\t")


def begins_with_continuation(header: bytes) -> bool:
    """Whether the first line goes on with a field that is not there (RFC 5322 §2.2.3).

    Such a header is refused: with fields put before it, the last of them would swallow its first line.
    """
    return header.startswith((b" ", b"\t"))


class Fields(dict[bytes, list[bytes]]):
    """Unfolded, stripped values by lower-case name, in order of appearance."""

    def first(self, name: bytes) -> bytes:
        """The first value of that name, empty when there is none."""
        values = self.get(name)
        return values[0] if values else b""


def split_fields(header: bytes, wanted: frozenset[bytes]) -> Fields:
    """The values of the `wanted` fields (lower-case names)."""
    found = Fields()
    for line in unfold(header).split(b"\n"):
        name, colon, value = line.partition(b":")
        key = name.rstrip().lower()
        if colon and key in wanted:
            found.setdefault(key, []).append(value.strip())
    return found


def decode_text(value: bytes) -> str:
    """The text of an unstructured value: raw UTF-8 or Latin-1, encoded words decoded (RFC 2047 §6), no controls.

    Never raises: an unknown charset or a damaged encoding gives the best text that can be made of the octets.
    """
    if b"=?" not in value:
        text = _decode_bytes(value, "utf-8")
    else:
        text = _decode_words(value)
    return text if text.isprintable() else text.translate(_CONTROLS)


def _decode_words(value: bytes) -> str:
    pieces: list[str] = []
    pending: list[bytes] = []
    pending_charset = ""
    position = 0
    for match in _ENCODED_WORD.finditer(value):
        between = value[position : match.start()]
        charset = match[1].decode("ascii", "replace").lower()
        # White space between adjacent encoded words is not text (RFC 2047 §6.2), and a character may be cut
        # between two words of one charset, so such words are joined before they are decoded.
        adjacent = bool(pending) and not between.strip()
        if pending and not (adjacent and charset == pending_charset):
            pieces.append(_decode_bytes(b"".join(pending), pending_charset))
            pending.clear()
        if not adjacent:
            pieces.append(_decode_bytes(between, "utf-8"))
        pending.append(_word_octets(match[2] in b"bB", match[3]))
        pending_charset = charset
        position = match.end()
    pieces.append(_decode_bytes(b"".join(pending), pending_charset))
    pieces.append(_decode_bytes(value[position:], "utf-8"))
    return "".join(pieces)


def _word_octets(base64: bool, text: bytes) -> bytes:
    if not base64:
        return _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), text.replace(b"_", b" "))
    return from_base64(text)


def codec_of(charset: str) -> str:
    """The codec of a charset's name in lower case, UTF-8 for one that is not known or no charset."""
    return _CODECS.get(charset.replace("-", "_"), "utf_8")


def _decode_bytes(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(codec_of(charset))
    except UnicodeError:
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            return octets.decode("latin-1")


def message_ids(value: bytes) -> tuple[str, ...]:
    """The message identifiers of a References, In-Reply-To or Message-ID value, with their angle brackets."""
    return tuple(found.decode("utf-8", "replace") for found in _MESSAGE_ID.findall(value)[-MAX_REFERENCES:])


def header_facts(header: bytes) -> HeaderFacts:
    """What the rules need of a header block. References falls back to In-Reply-To (RFC 5322 §3.6.4).

    A From or Sender field that is no list of mailboxes counts as one address, its text: nobody writes in a name that
    cannot be read (`author_addresses`).
    """
    fields = split_fields(header, _FACTS)
    identifiers = message_ids(fields.first(b"message-id"))
    references = message_ids(fields.first(b"references")) or message_ids(fields.first(b"in-reply-to"))
    return HeaderFacts(
        subject=_lines(fields, b"subject"),
        x_mss_mes=_lines(fields, b"x-mss-mes"),
        from_addresses=_authors(fields, b"from"),
        sender_addresses=_authors(fields, b"sender"),
        message_id=identifiers[0] if identifiers else "",
        references=references,
        received=len(fields.get(b"received", ())),
    )


def named_addresses(header: bytes) -> tuple[Address, ...]:
    """Whom the reader may answer: the addresses of To, Cc and Reply-To, each once, at most `MAX_NAMED`; what is none
    is left out."""
    fields = split_fields(header, _ANSWERED)
    found: dict[Address, None] = {}
    for value in chain.from_iterable(fields.values()):
        for one in parse_addresses(value):
            try:
                address = b"%b@%b" % (one.mailbox or b"", one.host or b"")
                found[parse_address(address.decode())] = None
            except (AddressError, UnicodeDecodeError):
                continue
    return tuple(found)[:MAX_NAMED]


def _authors(fields: Fields, name: bytes) -> tuple[str, ...]:
    return tuple(author for value in fields.get(name, ()) for author in author_addresses(value))


def _lines(fields: Fields, name: bytes) -> str:
    """Every value of a field, decoded, one a line. An encoded word that was folded inside is mended: readers differ
    about the space that is left, and what ends an exchange must be seen."""
    values = fields.get(name, ())
    return "\n".join(decode_text(_ENCODED_WORD.sub(lambda word: b"".join(word[0].split()), value)) for value in values)


def header_fields(header: bytes, names: Iterable[str | bytes], *, negate: bool = False) -> bytes:
    """HEADER.FIELDS, or with `negate` HEADER.FIELDS.NOT, of a header block (RFC 3501 §6.4.5).

    Gives the exact octets of the chosen fields, in order, followed by an empty line. Field names are compared
    without regard to case. Lines before the first field, and an empty line that ends the block, belong to no field.
    """
    wanted = _names(tuple(names))
    chosen = []
    keep = False
    for line in header.split(b"\n"):
        if line[:1] not in (b" ", b"\t"):
            name, colon, _ = line.partition(b":")
            keep = bool(colon) and (name.rstrip().lower() in wanted) is not negate
        if keep:
            chosen.append(line)
    if not chosen:
        return b"\r\n"
    fields = b"\n".join(chosen)
    if fields.endswith(b"\r"):
        return fields + b"\n\r\n"
    # Line ends of another kind, or a block cut in its last field: a line end is added, nothing is changed.
    return fields + (b"\n\r\n" if header.endswith(b"\n") else b"\r\n\r\n")


@lru_cache(maxsize=256)
def _names(names: tuple[str | bytes, ...]) -> frozenset[bytes]:
    return frozenset((name.encode() if isinstance(name, str) else name).lower() for name in names)
