"""The first words of a message (RFC 8970).

Invariants: a preview is plain text of at most 200 characters on one line (§3.2); it never depends on who asks or when;
at most `_LOOK` octets of a part are looked at.
"""

from __future__ import annotations

import html
import re
from typing import Final

from imap.responses import string
from imap.search import charset_of, part_text, text_parts
from imap.view import View
from mssante.mime.content import parse_content_type
from mssante.mime.headers import split_fields
from mssante.services.mailboxes import Account
from mssante.services.messages import Loaded

_LOOK: Final = 16_384
_LENGTH: Final = 200
_PARTS: Final = 20
"""Parts that are looked at in search of text."""
_NO_TEXT = re.compile(r"<(style|script|head)\b.*?(</\1\s*>|$)|<[^>]*(>|$)", re.DOTALL | re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x20\x7f\s]+")
_FIELDS: Final = frozenset({b"content-type", b"content-transfer-encoding"})


async def preview(own: Account, view: View, place: int, found: Loaded, *, lazy: bool) -> bytes:
    """The preview as a string; empty for a message without text; NIL for a lazy asker when the content would have to
    be read for it (§4)."""
    if lazy and found.content is None:
        return b"NIL"
    uid = view.listing.uids[place]

    async def octets(start: int, end: int) -> bytes:
        if found.content is not None:
            return found.content[start:end]
        return await own.read(view.folder_id, uid, found.message, start, end - start) if end > start else b""

    second = ""
    for header, body in text_parts(found.message.card.root)[:_PARTS]:
        fields = split_fields(await octets(header[0], min(header[1], header[0] + _LOOK)), _FIELDS)
        kind = parse_content_type(fields.get(b"content-type", [b""])[0])
        if kind.type.lower() != b"text":
            continue
        encoding = fields.get(b"content-transfer-encoding", [b""])[0].lower()
        text = part_text(await octets(body[0], min(body[1], body[0] + _LOOK)), encoding, charset_of(kind))
        if kind.subtype.lower() == b"html":
            second = second or _line(html.unescape(_NO_TEXT.sub(" ", text)))
        elif words := _line(text):
            return string(words.encode("utf-8"))
    return string(second.encode("utf-8"))


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()[:_LENGTH]
