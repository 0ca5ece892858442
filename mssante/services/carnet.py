"""The slapd of the clients' address books brought up to the copy of the annuaire, by what has changed since.

Always true here: it is fed by a process of its own; what it holds is remembered by generation, after the fact, so that
a feed that breaks off is done again; no bal in liste rouge goes there, and one that has become so leaves.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import msgspec

from annuaire.source import Feed, Ldap
from mssante.domain.bal import BalState, BalType
from mssante.store import Conn, Store
from mssante.store import annuaire as copies
from mssante.store.accounts import find_bals, list_bals
from mssante.store.annuaire import Record

AT_ONCE = 2000


class CarnetUnreachable(Exception):
    """The address books were not brought up to date; the message says why."""


async def feed(store: Store, target: Ldap, *, holders: bool) -> int:
    """Adds and removes what has changed; how many lines were added. Raises CarnetUnreachable."""
    copy = await store.read(copies.copy)
    if copy.fed is None:
        await store.write(copies.fed, 0)  # from now on what goes is kept until it is told
    accounts = await store.read(_passwords) if holders else {}
    added, last = 0, None
    while True:
        lines, lost = await store.read(copies.news, last, AT_ONCE)
        shown, hidden = await store.read(_without_liste_rouge, lines)
        removed = [*lost, *hidden] if last is None else hidden
        job = Feed(target, [(line.digest, line.record) for line in shown], removed, accounts if last is None else None)
        if lines or last is None:
            await _carried_out(job)
        added += len(shown)
        if len(lines) < AT_ONCE:
            break
        last = lines[-1]
    await store.write(copies.fed, copy.generation)
    return added


def _passwords(conn: Conn) -> dict[str, str]:
    """address → hash of those who may sign in."""
    bals = [bal for type_ in (BalType.PER, BalType.ORG) for bal in list_bals(conn, type_)]
    return {bal.address: bal.password_hash for bal in bals if bal.password_hash and bal.state is BalState.ACTIVE}


def _without_liste_rouge(conn: Conn, lines: Sequence[Record]) -> tuple[list[Record], list[int]]:
    """(what may be shown, digests of what may not, wherever it stands in the copy)."""
    bals = find_bals(conn, {line.address for line in lines})
    rouge = {address for address, bal in bals.items() if bal.liste_rouge}
    own = [
        bal for type_ in (BalType.PER, BalType.ORG, BalType.APP) for bal in list_bals(conn, type_) if bal.liste_rouge
    ]
    hidden = [line.digest for bal in own for line in copies.by_address(conn, bal.address)]
    return [line for line in lines if line.address not in rouge], hidden


async def _carried_out(job: Feed) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "annuaire.carnet"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said, _ = await process.communicate(msgspec.msgpack.encode(job))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise CarnetUnreachable(said.decode() or "the feeding process ended before its end: see the log")
