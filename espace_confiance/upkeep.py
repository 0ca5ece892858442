"""Keeps the white list and the revocation lists fresh while the service runs.

Invariants
- Nothing here interrupts service: fetching waits on the loop, reading and verifying happen in threads, and what fails
  leaves the last good files in force, with one line in the log when the fault begins and one when it ends.
- After a failure the next try comes after RETRY_S at most; a hurried round (SIGHUP, a command) comes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

import structlog

from espace_confiance.fetch import FetchFailed, fetch
from espace_confiance.holder import EspaceConfiance
from espace_confiance.liste_blanche import MAX_BYTES, ListeRefusee
from espace_confiance.revocation import FETCH_SECONDS, Revocation

log = structlog.get_logger("espace_confiance")

RETRY_S = 300.0


async def refresh_liste(espace: EspaceConfiance, context: ssl.SSLContext, *, seconds: float = FETCH_SECONDS) -> bool:
    """Ask the url of the white list once: True when a newer list came into force.

    Raises FetchFailed or ListeRefusee (also noted in `espace.status`), or OSError when the disk does not take the list.
    """
    validators = await asyncio.to_thread(espace.validators)
    try:
        fetched = await fetch(espace.url, context, max_bytes=MAX_BYTES, seconds=seconds, validators=validators)
    except FetchFailed as fault:
        await asyncio.to_thread(espace.failed, str(fault))
        raise
    if fetched.body is None:
        await asyncio.to_thread(espace.confirm)
        return False
    return await asyncio.to_thread(espace.take, fetched.body, fetched.validators)


class Upkeep:
    """`run()` until cancelled. `https`: the context for web servers, asked for each round."""

    def __init__(
        self,
        espace: EspaceConfiance,
        revocation: Revocation | None,
        https: Callable[[], ssl.SSLContext],
        *,
        crl_refresh_s: float,
        on_change: Callable[[], None],
    ) -> None:
        """revocation: None when revocation is not checked. crl_refresh_s: 0 never fetches. on_change: a file is new."""
        self._espace, self._revocation, self._https, self._on_change = espace, revocation, https, on_change
        self.crl_refresh_s = crl_refresh_s
        self._hurry = {"white list": asyncio.Event(), "revocation lists": asyncio.Event()}
        self._told: dict[str, str] = {}
        self.failures = 0
        """Rounds that ended with a fault."""

    def hurry(self) -> None:
        """Begin a round of both now; settings changed meanwhile count."""
        for event in self._hurry.values():
            event.set()

    async def run(self) -> None:
        """Keeps both fresh, each at its own pace."""
        await asyncio.gather(
            self._keep("white list", self._liste_round, lambda: self._espace.life.refresh_us / 1e6),
            self._keep("revocation lists", self._crl_round, lambda: self.crl_refresh_s),
        )

    async def _keep(self, what: str, round_: Callable[[], Awaitable[str]], pace: Callable[[], float]) -> None:
        hurry = self._hurry[what]
        while True:
            hurry.clear()
            fault = await round_()
            self._tell(what, fault)
            seconds = pace()
            if fault:
                seconds = min(seconds or RETRY_S, RETRY_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), seconds or None)

    async def _liste_round(self) -> str:
        """The fault of this round, or an empty string."""
        if not self._espace.url:
            return ""
        try:
            if await refresh_liste(self._espace, self._https()):
                log.info("new white list in force", **self._espace.status())
                self._on_change()
        except (FetchFailed, ListeRefusee, OSError) as fault:
            return str(fault)
        return ""

    async def _crl_round(self) -> str:
        if self._revocation is None or not self.crl_refresh_s:
            return ""
        if await self._revocation.refresh(self._https()):
            log.info("new revocation lists fetched")
            self._on_change()
        return "; ".join(self._revocation.faults.values())

    def _tell(self, what: str, fault: str) -> None:
        self.failures += bool(fault)
        if fault and fault != self._told.get(what):
            log.warning("not refreshed, what is held stays in force", what=what, fault=fault)
        elif self._told.get(what) and not fault:
            log.info("refreshed again", what=what)
        self._told[what] = fault
