"""Which messages a session was the first to be told of: \\Recent (RFC 3501 §2.3.2).

Always true here: a message that a session which may write was told of is \\Recent for no session that opens the folder
later in this process, nor in another one once the teller has left the folder; where that cannot be known a message
counts as recent, as the RFC says. Telling costs no write: one is made when a folder is opened or left.
"""

from __future__ import annotations

import asyncio

import structlog

from mssante.store import Store, StoreError
from mssante.store.mail import Folder, claim_recent

_log = structlog.get_logger("recents")


class Recents:
    """For the sessions of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: dict[int, int] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def first(self, folder: Folder) -> int:
        """The first uid that no session was told of."""
        return max(folder.recent_from, self._told.get(folder.id, 0))

    def tell(self, folder_id: int, before: int) -> None:
        """A session that may write was told of the messages with smaller uids."""
        self._told[folder_id] = max(before, self._told.get(folder_id, 0))

    def leave(self, folder_id: int) -> None:
        """A session leaves the folder: what it was told is written down, in a moment."""
        before = self._told.get(folder_id)
        if before is not None:
            task = asyncio.ensure_future(self._write(folder_id, before))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, folder_id: int, before: int) -> None:
        try:
            await self._store.write(claim_recent, folder_id, before, durable=False)
        except StoreError as fault:
            _log.warning("recent messages not noted", folder=folder_id, fault=str(fault))
        if self._told.get(folder_id) == before:
            del self._told[folder_id]
