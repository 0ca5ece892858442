"""What the operator does by itself, every so often, in each process that serves the store.

Always true here: a work that fails is logged and comes again at its time; each is safe to do in several processes, and
to cut anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from mssante.config import Settings
from mssante.domain.bal import BalType
from mssante.domain.clock import DAY_US, Clock
from mssante.domain.life_cycle import Patience
from mssante.services.life_cycle import Visits, look_after_unused
from mssante.services.mass import Watch
from mssante.services.patients import let_grow_up
from mssante.services.quota import warn_of_full
from mssante.store import Store, StoreError, Tx, journal
from mssante.store.compact import compact
from mssante.store.queue import prune_finished
from mssante.store.regulateur import prune
from mssante.store.search_upkeep import sweep

COMPACT_S: Final = 6 * 3600.0
"""How often the space of erased messages is given back."""
VISITS_S: Final = 60.0
DAY_S: Final = 24 * 3600.0

log = structlog.get_logger("mssante")


async def every(seconds: float | Callable[[], float], what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Does the work now, and then again and again, each time after the seconds. Ends by cancellation only."""
    while True:
        try:
            await work()
        except StoreError as fault:
            log.error(f"{what}: comes again", fault=str(fault))
        await asyncio.sleep(seconds if isinstance(seconds, float) else seconds())


class Housekeeping:
    """The works of one process, as coroutines to be run until they are cancelled."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, visits: Visits, watch: Watch) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        self._visits, self._watch = visits, watch

    def works(self) -> list[Coroutine[Any, Any, None]]:
        return [
            every(COMPACT_S, "compaction", self._compact),
            every(VISITS_S, "visits", self._count_visits),
            every(DAY_S, "unused mailboxes", self._look_after_unused),
            every(self._settings.quota.look_minutes * 60.0, "holders of full mailboxes", self._warn_of_full),
            every(DAY_S, "journal", self._shorten_journal),
            every(self._until_tomorrow, "children of age", self._let_grow_up),
        ]

    async def stop(self) -> None:
        """To be called before the store closes: the visits of the last minute."""
        try:
            await self._count_visits()
        except StoreError as fault:
            log.warning("visits of the last minute are lost", fault=str(fault))

    async def _count_visits(self) -> None:
        await self._visits.flush(self._store)

    async def _compact(self) -> None:
        """Gives back the space of erased messages, and forgets what has served its time."""
        done = await compact(self._store)
        log.info("contents compacted", removed=done.removed, emptied=done.emptied, freed=done.freed_bytes)
        await self._store.write(sweep, durable=False)
        now_us = self._clock.now_us()
        await self._store.write(prune_finished, now_us - self._settings.queue.trace_days * DAY_US, durable=False)
        texts_us, memory_us = self._watch.limits.window_us, self._settings.regulateur.memory_days * DAY_US
        await self._store.write(prune, now_us - texts_us, now_us - memory_us, durable=False)

    async def _look_after_unused(self) -> None:
        said = self._settings.life_cycle
        if said.types:
            patience = Patience(said.warning_months, said.closing_months, said.objection_days)
            types = tuple(BalType(name) for name in said.types)
            for step, count in (await look_after_unused(self._store, self._clock, patience, types)).items():
                log.info("unused mailboxes", step=str(step), count=count)

    async def _warn_of_full(self) -> None:
        if levels := self._settings.quota.warn_percent:
            await warn_of_full(self._store, self._clock, levels)

    async def _let_grow_up(self) -> None:
        while await self._store.write(let_grow_up):
            pass

    def _until_tomorrow(self) -> float:
        """Seconds until the day has begun (UTC), which is when children come of age."""
        return (DAY_US - self._clock.now_us() % DAY_US) / 1e6 + 1

    async def _shorten_journal(self) -> None:
        days = self._settings.life_cycle.journal_days
        while days and await self._store.write(_prune_journal, self._clock.now_us() - days * DAY_US):
            pass


def _prune_journal(tx: Tx, before_us: int) -> int:
    pruned = journal.prune(tx.conn, before_us)
    if pruned:
        tx.journal("journal.pruned", actor="systeme:journal", object="journal", entries=pruned, before_us=before_us)
    return pruned
