"""Messages as stored once, whatever the number of places that hold them.

Always true here: one row serves all entries and queue items of a message; when the last entry and the last unfinished
queue item go, the row goes, and with it the only copy of the content's key: from then on nobody can read the content.
"""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection, bindparam, delete, exists, insert, select

from mssante.store.contents import OWN, ContentRef, PendingContent
from mssante.store.engines import keys_of
from mssante.store.errors import NotFound
from mssante.store.keys import Keys
from mssante.store.prepared import Prepared, chunks
from mssante.store.schema import entry, message, queue_item
from mssante.store.writer import Tx

UNFINISHED = ("queued", "leased", "held")


class NewMessage(msgspec.Struct, frozen=True):
    """A message to be stored: its bytes, what we prepend (Received, ...), the encoded `mime.card.Card`."""

    content: PendingContent
    received_us: int
    prepend: bytes
    card: bytes


class StoredMessage(msgspec.Struct, frozen=True):
    """A message without its places. `size`: bytes of prepend and content together."""

    id: int
    received_us: int
    size: int
    card: bytes
    prepend: bytes
    content: ContentRef


_ADD_MESSAGE = Prepared(insert(message).inline(), [column.name for column in message.c if column.name != "id"])
_SIZE = Prepared(select(message.c.size, message.c.received_us).where(message.c.id == bindparam("id")))
MESSAGE_COLUMNS = (
    message.c.id,
    message.c.received_us,
    message.c.size,
    message.c.sealed_facts,
    message.c.segment,
    message.c.offset,
    message.c.length,
    message.c.wrapped_key,
    message.c.content_id,
)
_MESSAGE = Prepared(select(*MESSAGE_COLUMNS).where(message.c.id == bindparam("id")))
_SIZES = Prepared(select(message.c.id, message.c.size).where(message.c.id.in_(bindparam("ids", expanding=True))))
_FORGET = Prepared(
    delete(message)
    .where(
        message.c.id.in_(bindparam("ids", expanding=True)),
        ~exists().where(entry.c.message_id == message.c.id),
        ~exists().where(queue_item.c.message_id == message.c.id, queue_item.c.state.in_(UNFINISHED)),
    )
    .returning(message.c.content_id, message.c.segment)
)
_LOCK_MESSAGES = (
    select(message.c.id)
    .where(message.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(message.c.id)
    .with_for_update()
)


def add_message(tx: Tx, new: NewMessage) -> int:
    """The message's id. It must get an entry or a queue item in the same transaction."""
    ref = new.content.ref
    size = len(new.prepend) + ref.length
    values = {
        "content_id": ref.content_id,
        "segment": ref.segment,
        "offset": ref.offset,
        "length": ref.length,
        "wrapped_key": ref.wrapped_key,
        "sealed_facts": _seal_facts(tx.keys, ref.content_id, new.prepend, new.card),
        "size": size,
        "received_us": new.received_us,
    }
    message_id = _ADD_MESSAGE.added(tx.conn, values)
    new.content.used = True
    tx.fresh[message_id] = StoredMessage(message_id, new.received_us, size, new.card, new.prepend, ref)
    return message_id


def load_message(conn: Connection, message_id: int) -> StoredMessage:
    """The message without its places. Raises NotFound."""
    found = _MESSAGE.rows(conn, {"id": message_id})
    if not found:
        raise NotFound("the message is gone")
    ((id_, received_us, size, sealed, *ref),) = found
    content = ContentRef(*ref)
    prepend, card = unseal_facts(keys_of(conn), content.content_id, sealed)
    return StoredMessage(id_, received_us, size, card, prepend, content)


def _seal_facts(keys: Keys, content_id: bytes, prepend: bytes, card: bytes) -> bytes:
    return keys.seal_facts(len(prepend).to_bytes(4, "big") + prepend + card, content_id)


def unseal_facts(keys: Keys, content_id: bytes, sealed: bytes) -> tuple[bytes, bytes]:
    plain = keys.unseal_facts(sealed, content_id)
    middle = 4 + int.from_bytes(plain[:4], "big")
    return plain[4:middle], plain[middle:]


def size_of(tx: Tx, message_id: int) -> tuple[int, int]:
    known = tx.fresh.get(message_id)
    if known is None:
        found = _SIZE.rows(tx.conn, {"id": message_id})
        if not found:
            raise NotFound("the message is gone")
        ((size, received_us),) = found
        return size, received_us
    return known.size, known.received_us


def total_size(tx: Tx, message_ids: Sequence[int]) -> int:
    sizes: dict[int, int] = {}
    for some in chunks(message_ids):
        sizes.update(_SIZES.rows(tx.conn, {"ids": some}))
    return sum(sizes[id_] for id_ in message_ids)


def forget_unreferenced(tx: Tx, message_ids: Iterable[int]) -> None:
    """Erases those of the messages that have neither an entry nor an unfinished queue item left."""
    for some in chunks(message_ids):
        if tx.conn.dialect.name == "postgresql":
            tx.conn.execute(_LOCK_MESSAGES, {"ids": some})
        for content_id, segment in _FORGET.rows(tx.conn, {"ids": some}):
            tx.erased(content_id, segment if segment.startswith(OWN) else None)


def id_digest(message_id: str) -> str:
    """What stands in a table for a Message-ID, which holds whatever a mail program put there."""
    return hashlib.sha256(message_id.encode("utf-8", "surrogateescape")).hexdigest()[:32]
