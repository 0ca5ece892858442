"""What goes on with the annuaire while serving: its source read, address books fed, own mailboxes published.

Always true here: each of these fails on its own, is told in the log when it begins to fail, and is tried again; none
stops the others, and none stops mail.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from annuaire.publication import Way
from annuaire.source import Ldap, Spec
from mssante.domain.clock import Clock
from mssante.services.annuaire import Guard, SyncRefused, sync
from mssante.services.carnet import CarnetUnreachable, feed
from mssante.services.publication import Policy, publish
from mssante.store import Store, StoreError
from mssante.store import annuaire as copies
from mssante.store.annuaire import Copy

FIRST_S = 5.0
"""After the start: mail has its doors open and its caches warm before a source is read."""
REST_S = 5.0
"""From a change of a mailbox to the feeding that takes it along, with all those that come meanwhile."""

log = structlog.get_logger("mssante.annuaire")


class AnnuaireUpkeep:
    """``spec`` None: no source is read; ``carnet`` None: no address books; ``way`` None: nothing is published.
    ``copy`` is the state as last seen."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        spec: Spec | None,
        guard: Guard,
        refresh_s: int,
        carnet: Ldap | None,
        holders: bool,
        way: Way | None,
        policy: Policy,
        interval_s: int,
        first_s: float = FIRST_S,
        rest_s: float = REST_S,
    ) -> None:
        self._store, self._clock = store, clock
        self._spec, self._guard, self._refresh_s = spec, guard, refresh_s
        self._carnet, self._holders = carnet, holders
        self._way, self._policy, self._interval_s = way, policy, interval_s
        self._first_s, self._rest_s = first_s, rest_s
        self._changed = asyncio.Event()
        self._problems: dict[str, str] = {}
        self._running: asyncio.Task[None] | None = None
        self.copy = Copy()
        self.failures = 0

    async def look(self) -> None:
        """Sees the state of the copy. Raises StoreError."""
        self.copy = await self._store.read(copies.copy)

    async def stop(self) -> None:
        """Ends what is under way; a reading gives its lease back while there is a store to give it to."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def run(self) -> None:
        """Until cancelled."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_copy())
            if self._way is not None:
                tasks.create_task(self._keep_published(self._way))

    async def _keep_copy(self) -> None:
        """Reads the source and feeds the address books at their time; what changes of mailboxes here (who may sign in
        there, who is in liste rouge) is told to the books at once."""
        await asyncio.sleep(self._first_s)
        if self._carnet is not None:
            self._store.hints.subscribe("accounts", None, self._changed.set)
        loop = asyncio.get_running_loop()
        while True:
            next_s = loop.time() + self._refresh_s
            if self._spec is not None:
                await self._read(self._spec)
            await self._feed()
            while await self._told_of_a_change(next_s - loop.time()):
                await asyncio.sleep(self._rest_s)
                await self._feed()

    async def _told_of_a_change(self, within_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._changed.wait(), within_s)
        return False

    async def _feed(self) -> None:
        self._changed.clear()
        try:
            await self.look()
            if self._carnet is None and self.copy.fed is not None:
                await self._store.write(copies.fed, None)
            if self._carnet is not None:
                added = await feed(self._store, self._carnet, holders=self._holders)
                log.info("address books fed", added=added)
            self._told_once("address books", "")
        except (CarnetUnreachable, StoreError, OSError) as fault:
            self._told_once("address books", str(fault))

    async def _read(self, spec: Spec) -> None:
        try:
            copy = await sync(self._store, spec, self._guard, self._clock.now_us())
            self._told_once("source", "")
            log.info("annuaire read", added=copy.added, removed=copy.removed, refused=copy.faulty)
        except (SyncRefused, StoreError, OSError) as fault:
            self.failures += 1
            self._told_once("source", str(fault))

    async def _keep_published(self, way: Way) -> None:
        while True:
            try:
                problems = await publish(self._store, way, self._policy, self._clock.now_us())
                self._told_once("publication", "; ".join(problem.text for problem in problems))
            except StoreError as fault:
                self._told_once("publication", str(fault))
            await asyncio.sleep(self._interval_s)

    def _told_once(self, what: str, fault: str) -> None:
        """A fault that lasts is logged when it begins, not at every look."""
        if fault and self._problems.get(what) != fault:
            log.error("annuaire: the last good copy serves on", part=what, fault=fault)
        self._problems[what] = fault
