"""SEARCH over the texts of a folder, and the task that keeps what it is answered from in step.

Invariants:
- What is found is right at any time, however far the index has come; only the time it takes differs.
- Reading for the index waits until no mail arrives, and takes a fifth of a core at most.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Container, Sequence
from importlib.util import find_spec
from typing import Final, Literal

import structlog

from mssante.mime.pdf import pdf_text
from mssante.mime.text import Wanted, fold, plain
from mssante.services.refusals import told
from mssante.store import Store, StoreError
from mssante.store.search import Blocks, Reading, judge, search_blocks
from mssante.store.search_upkeep import behind, newest, step

__all__ = ["Reading", "Search", "catch_up", "keep_in_step", "reading_of"]

_FEW: Final = 200
"""Messages up to which their texts are read at once, without blocks."""
_TOGETHER: Final = 512
LOOK_S: Final = 30.0
_PATIENCE: Final = 20
"""Looks at a busy store before it is read all the same."""

_log = structlog.get_logger(__name__)


def reading_of(search: Literal["folded", "exact"], *, pdf: bool) -> Reading:
    """As the operator has set it. ImportError when PDF files shall be read and pypdf is missing."""
    if pdf and find_spec("pypdf") is None:
        raise ModuleNotFoundError("pypdf is not installed", name="pypdf")
    return Reading(pdf_text if pdf else None, search == "exact")


class Search:
    def __init__(self, store: Store, reading: Reading) -> None:
        self._store, self._reading = store, reading

    async def find(
        self,
        folder_id: int,
        uids: Sequence[int],
        message_ids: Sequence[int],
        text: str,
        *,
        field: str = "",
        whole: bool = False,
    ) -> Container[int]:
        """The UIDs among these (ascending, with the messages' ids) of the messages that say `text` in the field (empty
        text: that have it), in the body without one, or anywhere (`whole`)."""
        wanted = Wanted((plain if self._reading.exact else fold)(text), fold(field), whole)
        found: set[int] = set()
        unsure: Sequence[int] = range(len(uids))
        if len(uids) > _FEW:
            blocks = await told(self._store.read(search_blocks, folder_id, self._reading, wanted))
            found, unsure = blocks.found, _unsure(blocks, uids)
        for start in range(0, len(unsure), _TOGETHER):
            uid_of = {message_ids[place]: uids[place] for place in unsure[start : start + _TOGETHER]}
            meant = await told(self._store.read(judge, self._store.contents, list(uid_of), self._reading, wanted))
            found.update([uid_of[message_id] for message_id in meant])
        return found


def _unsure(blocks: Blocks, uids: Sequence[int]) -> list[int]:
    """Places of the uids that no block covers, or that a block is not sure of."""
    places: list[int] = []
    above = 0
    for first, last in blocks.runs:
        places += range(above, bisect_left(uids, first, above))
        above = bisect_right(uids, last, above)
    places += range(above, len(uids))
    for uid in sorted(blocks.perhaps):
        place = bisect_left(uids, uid)
        if place < len(uids) and uids[place] == uid:
            places.append(place)
    return places


def catch_up(store: Store, reading: Reading, bal_id: int) -> None:
    """Reads all that a bal holds. Blocks."""
    for folder_id in store.read_now(behind, reading, bal_id):
        while step(store, folder_id, reading):
            continue


async def keep_in_step(store: Store, reading: Reading, look_s: float = LOOK_S) -> None:
    """Runs until it is cancelled; looks every `look_s` seconds."""
    seen, looks = -1, 0
    while True:
        try:
            last, looks = await store.read(newest), looks + 1
            if last == seen or looks > _PATIENCE:
                for folder_id in await store.read(behind, reading):
                    await _go_on(store, folder_id, reading)
                looks = 0
            seen = last
        except StoreError as fault:
            _log.warning("not read for search, tried again", fault=str(fault))
        await asyncio.sleep(look_s)


async def _go_on(store: Store, folder_id: int, reading: Reading) -> None:
    loop = asyncio.get_running_loop()
    more = True
    while more:
        began = loop.time()
        more = await asyncio.to_thread(step, store, folder_id, reading)
        await asyncio.sleep(4 * (loop.time() - began))
