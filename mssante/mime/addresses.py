"""Address lists of header fields: From, Sender, Reply-To, To, Cc, Bcc.

What must always hold: reading never raises and is linear in the length of the value. There are two readers:

- `parse_addresses` is for display. Encoded words stay encoded (RFC 3501 §7.4.2); groups keep their place as a start and
  an end marker. What cannot be understood is given as it is written rather than dropped, because a reader must be able
  to see who a broken message claims to come from;
- `author_addresses` is for judging. It gives addresses only when every reader would find the same ones, and otherwise
  one text that is no address.
"""

import re
from typing import Final, NamedTuple

MAX_ADDRESSES: Final = 1_000
"""Addresses given of one field; the field itself stays whole in the message."""

MAX_IRREGULAR: Final = 65_536
"""Octets read of the rest of a list from the first irregular address on: these are read token by token."""

MISSING_MAILBOX: Final = b"MISSING_MAILBOX"
MISSING_DOMAIN: Final = b"MISSING_DOMAIN"
"""Stand for what ``To: jean`` or ``To: <>`` lack: NIL would read as a mark of a group (RFC 3501 §7.4.2). Dovecot
writes the same."""

MAX_AUTHORS: Final = 10
"""Mailboxes of one From that is judged: RFC 5322 §3.6.2 sets no number, a letter of more authors has a Sender."""

UNREADABLE: Final = "unreadable: "
"""Begins what `author_addresses` gives of a field that is no list of mailboxes: no address begins like this."""


class MailAddress(NamedTuple):
    """One ENVELOPE address (RFC 3501 §7.4.2): a group starts with (None, None, name, None) and ends with all None."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


_GROUP_END: Final = MailAddress(None, None, None, None)
_ATOM: Final = rb'[^\s<>()@,:;"\\\[\]]++'
_PLAIN: Final = re.compile(
    rb"[ \t]*+(?:(?:"
    rb'"([^"\\]*+)"[ \t]*+|([^<>()@,:;"\\]*+))<(' + _ATOM + rb")@(" + _ATOM + rb")>"
    rb"|(" + _ATOM + rb")@(" + _ATOM + rb"))[ \t]*+(?:,|\Z)"
)
_TOKEN: Final = re.compile(rb'\s++|"((?:[^"\\]|\\.)*+)"?|[()<>,:;\[\]]|[^\s"()<>,:;\[\]]++', re.DOTALL)
_COMMENT_PIECE: Final = re.compile(rb"[()]|(?:[^()\\]|\\.)++|\\", re.DOTALL)
_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)

_SPEC: Final = rb'((?:"[^"\\<>()@:]++"|' + _ATOM + rb")@" + _ATOM + rb")"
_AUTHOR: Final = re.compile(
    rb'(?:((?:"(?:[^"\\]|\\.)*+"|[^"<>(),:;\\]++)*+)<' + _SPEC + rb">|" + _SPEC + rb")[ \t]*+(?:,[ \t,]*+|\Z)"
)
_COMMENTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[^"(]++|\(')
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def parse_addresses(value: bytes) -> list[MailAddress]:
    """The addresses of one unfolded field value, in order, at most `MAX_ADDRESSES` (RFC 5322 §3.4, §4.4)."""
    found: list[MailAddress] = []
    position, end = 0, len(value)
    while position < end:
        match = _PLAIN.match(value, position)
        if match is None:
            _parse_any(value[position : position + MAX_IRREGULAR], found)
            break
        quoted, phrase, local, domain, bare_local, bare_domain = match.groups()
        if bare_local is not None:
            found.append(MailAddress(None, None, bare_local, bare_domain))
        else:
            name = quoted if quoted is not None else b" ".join(phrase.split())
            found.append(MailAddress(name or None, None, local, domain))
        if len(found) >= MAX_ADDRESSES:
            break
        position = match.end()
    return found


def author_addresses(value: bytes) -> tuple[str, ...]:
    """The addr-specs of one unfolded From or Sender value (RFC 5322 §3.6.2), or one text that begins with `UNREADABLE`.

    Readable is a list of mailboxes: no group (RFC 6854 allows them in From; they name a person without an address), no
    route, nothing but its octets inside an address. An address that stands where a display name would, without quotes,
    counts as well: some readers take the first of two. Empty elements of the list are passed over (RFC 5322 §4.4).
    A list is given whole or, longer than `MAX_AUTHORS`, not at all: what is cut off would be judged by nobody.
    """
    found: list[str] = []
    plain = _without_comments(value).lstrip(b" \t,")
    position, end = 0, len(plain)
    while position < end:
        match = _AUTHOR.match(plain, position)
        if match is None:
            found.clear()
            break
        phrase, angled, bare = match.groups()
        specs = [*(word for word in _QUOTED.sub(b" ", phrase or b"").split() if b"@" in word), angled or bare]
        found += (spec.decode("utf-8", "backslashreplace") for spec in specs)
        position = match.end()
    # An encoded word is no text inside an address (RFC 2047 §5), yet some readers decode it and find another one.
    if not 0 < len(found) <= MAX_AUTHORS or _CONTROL.search(value) or any("=?" in spec for spec in found):
        return (UNREADABLE + value.decode("utf-8", "replace"),)
    return tuple(found)


def _without_comments(value: bytes) -> bytes:
    """The value with a space for each comment (RFC 5322 §3.2.2), as it is from a comment or quotes that never end."""
    pieces: list[bytes] = []
    position = 0
    while (match := _COMMENTED.match(value, position)) is not None:
        piece, after = match.group(), match.end()
        if piece == b"(":
            _, after, closed = _comment(value, after)
            if not closed:
                break
            piece = b" "
        pieces.append(piece)
        position = after
    pieces.append(value[position:])
    return b"".join(pieces)


def _parse_any(value: bytes, found: list[MailAddress]) -> None:
    """Read a list that holds groups, routes, comments, quoted pairs or mistakes, appending to `found`."""
    parser = _ListParser(found)
    position, end = 0, len(value)
    while position < end and len(found) < MAX_ADDRESSES:
        match = _TOKEN.match(value, position)
        if match is None:  # the token pattern takes any octet; this keeps the loop finite whatever happens to it
            break
        token = match.group()
        if token == b"(":
            comment, position, _ = _comment(value, match.end())
            parser.comments.append(comment)
            continue
        position = match.end()
        if match.group(1) is not None:
            parser.word(_PAIR.sub(rb"\1", match.group(1)))
        else:
            parser.token(token)
    parser.end_mailbox()
    if parser.in_group:
        found.append(_GROUP_END)


def _comment(value: bytes, position: int) -> tuple[bytes, int, bool]:
    """The text of the comment whose opening parenthesis ends at `position`, the offset after it, whether it is
    closed."""
    depth = 1
    pieces: list[bytes] = []
    for match in _COMMENT_PIECE.finditer(value, position):
        piece = match.group()
        if piece == b"(":
            depth += 1
        elif piece == b")":
            depth -= 1
            if not depth:
                return b"".join(pieces).strip(), match.end(), True
        else:
            piece = _PAIR.sub(rb"\1", piece)
        pieces.append(piece)
    return b"".join(pieces).strip(), len(value), False


class _ListParser:
    """Collects the tokens of one mailbox at a time."""

    def __init__(self, found: list[MailAddress]) -> None:
        self.found = found
        self.in_group = False
        self._reset()

    def _reset(self) -> None:
        self.comments: list[bytes] = []
        self._phrase: list[bytes] = []
        self._spec: list[bytes] | None = None
        self._angle = False
        self._space = False

    def word(self, text: bytes) -> None:
        if self._angle and self._spec is not None:
            self._spec.append(text)
            return
        if self._space and self._phrase:
            self._phrase.append(b" ")
        self._space = False
        self._phrase.append(text)

    def token(self, token: bytes) -> None:
        if token.isspace():
            self._space = True
        elif self._angle:
            if token == b">":
                self._angle = False
            else:
                self.word(token)
        elif token == b"<":
            if self._spec is not None:  # a second one without a comma: whoever judges a sender must see both
                self.end_mailbox()
            self._angle = True
            self._spec = []
        elif token == b",":
            self.end_mailbox()
        elif token == b":" and not self.in_group:
            self.found.append(MailAddress(None, None, b"".join(self._phrase), None))
            self.in_group = True
            self._reset()
        elif token == b";":
            self.end_mailbox()
            if self.in_group:
                self.found.append(_GROUP_END)
                self.in_group = False
        elif token not in (b">", b")"):
            self.word(token)

    def end_mailbox(self) -> None:
        phrase = b"".join(self._phrase)
        name = self.comments[0] if self.comments else b""
        route = None
        if self._spec is not None:
            name, spec = phrase or name, b"".join(self._spec)
            if spec.startswith(b"@") and b":" in spec:
                route, _, spec = spec.rpartition(b":")
        elif b"@" in phrase or b" " not in phrase:
            spec = phrase
        else:
            name, spec = phrase, b""
        if spec or phrase or self._spec is not None:  # a comment alone is no mailbox: `group: (nobody);` has none
            local, at, domain = spec.rpartition(b"@")
            if not at:
                local, domain = spec, b""
            local = local.replace(b" . ", b".").strip() or MISSING_MAILBOX
            self.found.append(MailAddress(name or None, route, local, domain.strip() or MISSING_DOMAIN))
        self._reset()
