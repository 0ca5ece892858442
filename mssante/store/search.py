"""Answers SEARCH: by blocks where there are any, else by the kept text of a message, else by its content.

Always true here:
- an answer never depends on how far the index has come (`search_upkeep.py`): one notion of sameness serves all three
  ways (`mime.text.fold`), and what a block cannot tell for sure is judged by the text;
- nothing is in clear: the text of a message is sealed under the message's own key and goes with it; a block is sealed
  under a random key of its own, kept in its row only.
"""

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, bindparam, select

from mssante.mime.card import Card
from mssante.mime.text import PdfText, Wanted, fold, message_text, plain
from mssante.store.contents import CHUNK, ContentRef, Contents
from mssante.store.engines import keys_of
from mssante.store.errors import ContentError, NotFound
from mssante.store.keys import open_under
from mssante.store.messages import load_message
from mssante.store.prepared import Prepared
from mssante.store.schema import message, search_block, search_part, search_text
from mssante.store.search_words import LISTS, UIDS, places, search

MADE: Final = 4
"""The form of texts and blocks; raised whenever other texts would be made of the same messages."""
MESSAGES: Final = 64
"""Messages whose texts are held at once."""
BLOCK_KEY: Final = b"search block"

_log = logging.getLogger(__name__)


class Reading(msgspec.Struct, frozen=True):
    """How messages are read for search. `pdf_text`: reads PDF files too. `exact`: answers to the letter, not folded."""

    pdf_text: PdfText | None = None
    exact: bool = False

    @property
    def made(self) -> int:
        return MADE + (self.pdf_text is not None)


class Blocks(NamedTuple):
    """What blocks know: the runs (first, last) of uids that they cover, the uids found, and those perhaps."""

    runs: list[tuple[int, int]]
    found: set[int]
    perhaps: set[int]


BLOCKS = Prepared(
    select(
        search_block.c.id,
        search_block.c.first_uid,
        search_block.c.last_uid,
        search_block.c.messages,
        search_block.c.sealed_key,
    )
    .where(search_block.c.folder_id == bindparam("folder"), search_block.c.made == bindparam("made"))
    .order_by(search_block.c.first_uid)
)
_PART = Prepared(
    select(search_part.c.sealed).where(
        search_part.c.block_id == bindparam("block"), search_part.c.part == bindparam("part")
    )
)


def search_blocks(conn: Connection, folder_id: int, reading: Reading, wanted: Wanted) -> Blocks:
    """Blocks that cannot be read are as good as none: their messages are judged one by one."""
    made = Blocks([], set(), set())
    folded = msgspec.structs.replace(wanted, text=fold(wanted.text))
    for block_id, first, last, count, sealed_key in BLOCKS.rows(conn, {"folder": folder_id, "made": reading.made}):
        try:
            parts = parts_of(conn, block_id, sealed_key)
            bits, exact = search(parts, count, folded)
            uids = memoryview(parts(UIDS)).cast("I") if bits else b""
        except ContentError as fault:
            _log.error("block %d of the search index: %s", block_id, fault)
            continue
        made.runs.append((first, last))
        (made.found if exact and not reading.exact else made.perhaps).update([uids[place] for place in places(bits)])
    return made


def judge(
    conn: Connection, contents: Contents, message_ids: Sequence[int], reading: Reading, wanted: Wanted
) -> list[int]:
    """Those of the messages that are meant, each read: its text, or its content where that is not kept."""
    found = []
    for some in some_of(message_ids):
        unread = set(some)
        for message_id, text in () if reading.exact else kept_texts(conn, some, reading.made):
            unread.remove(message_id)
            if wanted.found_in(text):
                found.append(message_id)
        for message_id in unread:
            read = read_text(conn, contents, message_id, reading)
            if read is not None and wanted.found_in(read):
                found.append(message_id)
    return found


def some_of(ids: Sequence[int]) -> Iterator[list[int]]:
    return (list(ids[start : start + MESSAGES]) for start in range(0, len(ids), MESSAGES))


def parts_of(conn: Connection, block_id: int, sealed_key: bytes) -> Callable[[int], bytes]:
    cipher = AESGCM(keys_of(conn).unseal(sealed_key, BLOCK_KEY))

    def part(number: int) -> bytes:
        found = _PART.rows(conn, {"block": block_id, "part": number})
        if not found:
            raise ContentError(f"its part {number} is missing")
        octets = open_under(cipher, found[0][0], b"%d" % number)
        return zlib.decompress(octets) if number >= LISTS else octets

    return part


_TEXTS = Prepared(
    select(search_text.c.message_id, message.c.wrapped_key, message.c.content_id, search_text.c.sealed)
    .join_from(search_text, message, search_text.c.message_id == message.c.id)
    .where(search_text.c.message_id.in_(bindparam("ids", expanding=True)), search_text.c.made == bindparam("made"))
)


def kept_texts(conn: Connection, message_ids: Sequence[int], made: int) -> Iterator[tuple[int, str]]:
    """(message id, text) of those whose text is kept and whole."""
    keys = keys_of(conn)
    for message_id, wrapped_key, content_id, sealed in _TEXTS.rows(conn, {"ids": list(message_ids), "made": made}):
        try:
            octets = open_under(AESGCM(keys.unwrap(wrapped_key, content_id)), sealed, text_context(content_id))
        except ContentError as fault:
            _log.error("the search text of message %d: %s", message_id, fault)
            continue
        yield message_id, zlib.decompress(octets).decode("utf-8", "surrogatepass")


def read_text(conn: Connection, contents: Contents, message_id: int, reading: Reading) -> str | None:
    """The text of a message from its content, in the form that answers need; None when the message is gone. One that
    cannot be read has an empty text."""
    try:
        stored = load_message(conn, message_id)
        form = plain if reading.exact else fold
        octets = _octets(contents, stored.content)
        return message_text(octets, Card.decode(stored.card), stored.prepend, form, reading.pdf_text)
    except NotFound:
        return None
    except (ContentError, msgspec.DecodeError) as fault:
        _log.error("message %d cannot be read for search: %s", message_id, fault)
        return "\0\0"


def _octets(contents: Contents, content: ContentRef) -> Callable[[int, int], bytes]:
    if content.length > CHUNK:
        return lambda start, end: contents.read(content, start, end - start)
    octets = contents.read(content)
    return lambda start, end: octets[start:end]


def text_context(content_id: bytes) -> bytes:
    return content_id + b"search"
