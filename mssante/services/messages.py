"""Stored messages as their readers see them, read many at a time and remembered a little.

Invariants:
- A message never changes once stored, so what is remembered by its id stays right; all its entries share its internal
  date. Only where its content lies may change (compaction): a content that is gone from its place is looked up anew.
- What a reader sees is `prepend` followed by the content; offsets of the card count from the start of the content.
- What is remembered is bounded in octets, and forgotten when the message is expunged; what is read at once is bounded
  in octets too, however large headers and structures are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec

from mssante.services.listing import Listing
from mssante.services.refusals import told
from mssante.store import Conn, ContentError, Store
from mssante.store.columns import Message
from mssante.store.columns import messages as stored
from mssante.store.messages import StoredMessage

__all__ = ["CHUNK", "Loaded", "Message", "Messages"]

CHUNK: Final = 65536
"""Octets of content read at once."""
_TOGETHER: Final = 1_048_576
"""Octets of contents that one reading of several messages brings at most."""
_BATCH: Final = 800
"""Messages of a batch, and with their contents:"""
_BATCH_CONTENTS: Final = 32
_ROOM: Final = 262_144
"""Octets of cards and headers from which on a batch is full."""
_MANY: Final = 2000
"""Messages from which on a reading is a walk through the folder, of which nothing is remembered: it would drive out
what others read again."""


class Loaded(msgspec.Struct, gc=False):
    """A message, and its content when it was asked for and is small."""

    message: Message
    content: bytes | None
    _uid: int
    _folder_id: int
    _messages: Messages

    async def octets(self, start: int, end: int) -> bytes:
        """Octets [start, end) of the content. MailboxRefused (EXPUNGED) when the message was erased meanwhile."""
        if self.content is not None:
            return self.content[start:end]
        if start >= end:
            return b""
        return await told(self._messages.read(self._folder_id, self._uid, self.message, start, end - start))


class Messages:
    """Reads messages for all sessions of the process. `limit`: octets remembered."""

    def __init__(self, store: Store, limit: int = 16 * 1024 * 1024) -> None:
        self._store = store
        self._limit, self._held = limit, 0
        self._known: OrderedDict[int, Message] = OrderedDict()

    async def each(
        self, folder_id: int, listing: Listing, places: Sequence[int], *, header: bool = False, content: bool = False
    ) -> AsyncIterator[list[tuple[int, Loaded | None]]]:
        """The messages at these places of a folder's listing, in their order and in batches; None for those that are
        gone from the store. `header`: with their header blocks; `content`: with the contents that are small."""
        remember = len(places) <= _MANY
        size, done = _BATCH_CONTENTS if content else _BATCH, 0
        while done < len(places):
            some = places[done : done + size]
            uids = [listing.uids[place] for place in some]
            ids = [listing.message_ids[place] for place in some]
            found = await told(self._load(folder_id, uids, ids, header, content, remember, _ROOM))
            done += len(found)
            yield list(zip(some, found, strict=False))

    async def load(self, folder_id: int, uids: Sequence[int], message_ids: Sequence[int]) -> list[Loaded | None]:
        """As `each`, a few hundred at once, ascending."""
        return await told(self._load(folder_id, uids, message_ids, False, False, True, None))

    async def _load(
        self,
        folder_id: int,
        uids: Sequence[int],
        message_ids: Sequence[int],
        header: bool,
        content: bool,
        remember: bool,
        room: int | None,
    ) -> list[Loaded | None]:
        """Fewer than asked for, but one, when they take more octets than there is `room`."""
        known = self._known
        if header:
            message_ids = message_ids[: self._take_headers(message_ids)]
        found: dict[int, Message] = {}
        missing = []
        for uid, message_id in zip(uids, message_ids, strict=False):
            message = known.get(message_id)
            if message is None or (header and message.header is None):
                missing.append(uid)
            else:
                found[message_id] = message
        if missing:
            last, read = await self._store.read(self._rows, folder_id, missing, header, room)
            if last is not None:
                message_ids = message_ids[: bisect_right(uids, last)]
            for message in read:
                found[message.id] = message
                if remember:
                    self._remember(message)
        messages = [found.get(message_id) for message_id in message_ids]
        contents = await self._contents([message for message in messages if message is not None]) if content else {}
        return [
            None if message is None else Loaded(message, contents.get(message.id), uid, folder_id, self)
            for uid, message in zip(uids, messages, strict=False)
        ]

    def _take_headers(self, message_ids: Sequence[int]) -> int:
        """Of known messages whose contents are in memory: those that were delivered a moment ago. How many of all fill
        the room, at least one."""
        room = _ROOM
        for number, message_id in enumerate(message_ids, 1):
            message = self._known.get(message_id)
            if message is None:
                continue
            if message.header is None and self._store.contents.cached(message.content):
                self._read_header(message)
                self._held += len(message.header or b"")
            room -= len(message.encoded) + len(message.header or b"")
            if room < 0:
                return number
        return len(message_ids)

    def _read_header(self, message: Message) -> None:
        content = self._store.contents.read(message.content, 0, message.card.header_length)
        message.header = message.prepend + content

    def _rows(
        self, conn: Conn, folder_id: int, uids: Sequence[int], header: bool, room: int | None
    ) -> tuple[int | None, list[Message]]:
        """The messages, and the uid of the last one when the room was full before the end."""
        messages, octets = [], 0
        for uid, message in stored(conn, folder_id, uids):
            if header:
                self._read_header(message)
            messages.append(message)
            octets += len(message.encoded) + len(message.header or b"")
            if room is not None and octets > room:
                return uid, messages
        return None, messages

    async def _contents(self, messages: Sequence[Message]) -> dict[int, bytes]:
        wanted, octets = [], 0
        for message in messages:
            if message.content.length <= CHUNK and octets + message.content.length <= _TOGETHER:
                wanted.append(message)
                octets += message.content.length
        contents = self._store.contents
        if all(contents.cached(message.content) for message in wanted):
            return {message.id: contents.read(message.content) for message in wanted}
        found = await self._store.read(self._read_all, wanted)
        # Moved or erased since they were remembered: `read` will look them up anew.
        self.forget(message.id for message in wanted if message.id not in found)
        return found

    def _read_all(self, _: Conn, messages: Sequence[Message]) -> dict[int, bytes]:
        found = {}
        for message in messages:
            try:
                found[message.id] = self._store.contents.read(message.content)
            except ContentError:
                continue
        return found

    async def read(self, folder_id: int, uid: int, message: Message, start: int, length: int) -> bytes:
        """`length` octets of the content from `start`. ContentError when the message was erased."""
        try:
            return await self._store.read_content(message.content, start, length)
        except ContentError:
            self.forget([message.id])
            [loaded] = await self._load(folder_id, [uid], [message.id], False, False, True, None)
            if loaded is None or loaded.message.content == message.content:
                raise
            message.content = loaded.message.content
            return await self._store.read_content(message.content, start, length)

    def keep(self, stored: StoredMessage) -> None:
        """Remember a message that was delivered a moment ago: it will be asked for before its content leaves memory."""
        if stored.id not in self._known:
            known = Message(stored.id, stored.received_us, stored.size, stored.prepend, stored.card, stored.content)
            self._remember(known)

    def _remember(self, message: Message) -> None:
        self.forget([message.id])
        self._known[message.id] = message
        self._held += message.octets
        while self._held > self._limit:
            self._held -= self._known.popitem(last=False)[1].octets

    def forget(self, message_ids: Iterable[int]) -> None:
        for message_id in message_ids:
            message = self._known.pop(message_id, None)
            if message is not None:
                self._held -= message.octets
