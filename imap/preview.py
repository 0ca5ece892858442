"""The first words of a message (RFC 8970).

Invariants: a preview is plain text of at most 200 characters on one line (§3.2); it never depends on who asks or when;
at most `_LOOK` octets of a part are looked at.
"""

from __future__ import annotations

import re
from typing import Final

from imap.responses import string
from mssante.mime.text import charset_of, content_of, html_text, part_text, text_parts
from mssante.services.messages import Loaded

_LOOK: Final = 16_384
_LENGTH: Final = 200
_PARTS: Final = 20
"""Parts that are looked at in search of text."""
_CONTROLS = re.compile(r"[\x00-\x20\x7f\s]+")


async def preview(found: Loaded, *, lazy: bool) -> bytes:
    """The preview as a string; empty for a message without text; NIL for a lazy asker when the content would have to
    be read for it (§4)."""
    if lazy and found.content is None:
        return b"NIL"
    second = ""
    for part in text_parts(found.message.card.root)[:_PARTS]:
        header = await found.octets(part.header_start, min(part.body_start, part.header_start + _LOOK))
        kind, encoding = content_of(header)
        if kind.type.lower() != b"text":
            continue
        looked_at = await found.octets(part.body_start, min(part.body_end, part.body_start + _LOOK))
        text = part_text(looked_at, encoding, charset_of(kind))
        if kind.subtype.lower() == b"html":
            second = second or _line(html_text(text))
        elif words := _line(text):
            return string(words.encode("utf-8"))
    return string(second.encode("utf-8"))


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()[:_LENGTH]
