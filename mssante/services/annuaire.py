"""The copy of the annuaire brought up to date.

Always true here:
- A source is read by another process (`annuaire.worker`); this one only writes its batches, with pauses, so that
  neither the loop nor the store's writer is held longer than one batch takes.
- What was read is served when it is whole and believable: a reading that would empty the copy, or make more than a
  share of its addresses vanish, is refused, and what is served stays as it was.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import struct
import sys
from array import array
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec

from annuaire.source import Extraction, Fhir, Ldap, Spec
from annuaire.worker import Batch, End, Frame, Job, Refused
from mssante.domain.annuaire import Fault
from mssante.store import Store, StoreError
from mssante.store import annuaire as copies
from mssante.store.annuaire import Copy, Counts

FRAME_BYTES = 64 * 1024 * 1024
"""Most of one frame; a batch is some 200 KB, the digests of a country 5 MB."""
VANISHED_AT_ONCE = 500
NEW = 10
"""Words are gathered when one line in so many is new."""
REST = 0.25
"""The writer rests for this part of the time that a batch has taken: mail of another process comes in between."""

_frames = msgspec.msgpack.Decoder(Frame)
Result = TypeVar("Result")


class SyncRefused(Exception):
    """The reading counts for nothing; the message says why. ``unreachable``: trying again may help."""

    def __init__(self, text: str, *, unreachable: bool = False) -> None:
        super().__init__(text)
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class Guard:
    """``vanish_percent``: the largest share of the addresses that one reading may take away. ``complete_us``: how long
    changes alone may be read before all is read again, as a directory does not tell what it has erased."""

    vanish_percent: int = 10
    complete_us: int = 86_400_000_000


def name_of(spec: Spec) -> str:
    """The word for this source in commands, status and log."""
    return {Extraction: "extraction", Ldap: "ldap", Fhir: "fhir"}[type(spec)]


async def sync(store: Store, spec: Spec, guard: Guard, now_us: int, *, force: bool = False) -> Copy:
    """Reads the source and serves what it says; the state of the copy. ``force``: all of it, and without the guard.

    Raises SyncRefused (the copy is as before) and Busy (another process is at it).
    """
    owner = f"{os.getpid()}-{secrets.token_hex(4)}"
    state = await store.write(copies.begin, owner)
    problem: str | None = "interrupted"
    try:
        state = await _Sync(store, spec, owner, state).run(guard, now_us, force=force)
        problem = None
    except (SyncRefused, StoreError) as error:
        problem = str(error)
        raise
    finally:
        await asyncio.shield(store.write(copies.release, owner, problem))
    return state


class _Sync:
    """One reading of one source, under the lease of ``owner``."""

    def __init__(self, store: Store, spec: Spec, owner: str, state: Copy) -> None:
        self._store, self._spec, self._owner, self._state = store, spec, owner, state

    async def run(self, guard: Guard, now_us: int, *, force: bool) -> Copy:
        state, spec = self._state, self._spec
        again = state.source == name_of(spec) and not force
        # The extraction's cursor only tells an old file from a new one: it is always read whole.
        one_file = isinstance(spec, Extraction)
        since = state.cursor if again and (one_file or now_us - state.complete_us < guard.complete_us) else ""
        # What waits from an earlier attempt is known again by a whole reading; changes alone must not bring it along.
        await self._tidy(staged=bool(since) and not one_file)
        end = await self._staged(since)
        if not end.changed:
            return await self._flip(end, None)
        share = 100 if force else guard.vanish_percent
        if end.whole and (not end.read or end.read * 100 < state.fiches * (100 - share)):
            raise SyncRefused(f"{end.read} lines read where {state.fiches} are known{_of_faults(end)}{_ADVICE}")
        vanished = array("q", end.vanished)
        for start in range(0, len(vanished), VANISHED_AT_ONCE):
            some = vanished[start : start + VANISHED_AT_ONCE].tolist()
            await _gently(self._store.write(copies.mark, self._owner, some, durable=False))
        lost = await self._store.read(copies.vanishing)
        if lost * 100 > state.addresses * share:
            raise SyncRefused(f"{lost} of {state.addresses} addresses would vanish{_of_faults(end)}{_ADVICE}")
        counts = await self._store.read(copies.counted)
        flipped = await self._flip(end, counts)
        await self._tidy()
        if counts.added * NEW > counts.fiches:
            begun = False
            while await _gently(self._store.write(copies.gather_words, self._owner, begun, durable=False)):
                begun = True
        return flipped

    async def _flip(self, end: End, counts: Counts | None) -> Copy:
        news: dict[str, Any] = {"whole": end.whole, "source": name_of(self._spec), "cursor": end.cursor}
        if counts is not None:
            contradictory = [Fault(one, "two types, or two holders, for one address") for one in counts.contradictions]
            news |= {"faults": (*end.faults, *contradictory), "faulty": end.faulty + len(contradictory)}
        return await self._store.write(partial(copies.flip, counts=counts, **news), self._owner)

    async def _tidy(self, *, staged: bool = False) -> None:
        step = partial(copies.tidy, staged=staged)
        while await _gently(self._store.write(step, self._owner, durable=False)):
            pass

    async def _staged(self, since: str) -> End:
        """Writes what the worker sends; its last word. Raises SyncRefused."""
        known = await self._store.read(copies.known)
        last = Refused("the reading process ended before its end: see the log", True)
        async with _worker(Job(self._spec, since, known)) as frames:
            async for frame in frames:
                match frame:
                    case Batch():
                        batch = (frame.lines, frame.replaced, frame.mots)
                        await _gently(self._store.write(copies.stage, self._owner, *batch, durable=False))
                    case End():
                        return frame
                    case Refused():
                        last = frame
        raise SyncRefused(last.text, unreachable=last.again)


_ADVICE = ": look at the source; mssante annuaire sync --force takes what it says as it is"


def _of_faults(end: End) -> str:
    return f" ({end.faulty} faulty, such as {end.faults[0].place}: {end.faults[0].problem})" if end.faults else ""


async def _gently(write: Awaitable[Result]) -> Result:
    """The result of one write, after a pause that depends on what it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    result = await write
    await asyncio.sleep(min(REST * (loop.time() - began), 0.1))
    return result


@asynccontextmanager
async def _worker(job: Job) -> AsyncIterator[AsyncIterator[Frame]]:
    """The frames of the process that reads; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "annuaire.worker"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _frames_of(process.stdin, process.stdout, msgspec.msgpack.encode(job))
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    finally:
        await process.wait()


async def _frames_of(into: asyncio.StreamWriter, out: asyncio.StreamReader, job: bytes) -> AsyncIterator[Frame]:
    try:
        into.write(job)
        await into.drain()
        into.close()
        while True:
            (length,) = struct.unpack(">I", await out.readexactly(4))
            if length > FRAME_BYTES:
                raise SyncRefused("the reading process said something that is too long")
            yield _frames.decode(await out.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return
