"""Own mailboxes told to the national directory: what is to be told is found by comparing, never remembered.

Always true here:
- What a bal should be there follows from the bal as it is now, and what was told last stands beside it: whatever
  changes a bal (opened, closed, renamed, put in liste rouge) is told at the next look, once, and closing withdraws.
- An order is kept before it is sent, with its reference: sent twice after a crash, it says the same twice.
- PER, ORG and APP are told, citizens' mailboxes never; those in liste rouge as the operator has set.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import msgspec

from annuaire.publication import PUBLISH, UPDATE, WITHDRAW, Order, Outcome, Published, Way
from annuaire.source import SourceError
from mssante.domain.bal import BalState, BalType
from mssante.domain.identifiers import Adeli, Finess, Rpps, Siret
from mssante.domain.retry import backoff
from mssante.store import Conn, Store, publications
from mssante.store.accounts import Bal, list_bals
from mssante.store.publications import Told

AT_ONCE = 250
"""Rows of one transaction."""
SCHEDULE_S = (60, 300, 1800, 7200, 21_600)
"""Between attempts when the directory cannot be reached."""
_SHOWN = frozenset({BalState.ACTIVE, BalState.SUSPENDED})


@dataclass(frozen=True, slots=True)
class Policy:
    """``flag_liste_rouge``: mailboxes in liste rouge are told, with their mark; else they are not. ``silence_us``:
    how long an answer is waited for before a thing is told again."""

    flag_liste_rouge: bool = False
    silence_us: int = 7 * 86_400_000_000


class Problem(NamedTuple):
    """What went wrong, in a line. ``unreachable``: where it is told or answered was out of reach."""

    text: str
    unreachable: bool

    @classmethod
    def of(cls, what: str, error: OSError | SourceError) -> Self:
        """That of an error of a `Way`."""
        return cls(f"{what}: {error}", error.again if isinstance(error, SourceError) else True)


async def publish(store: Store, way: Way, policy: Policy, now_us: int) -> list[Problem]:
    """Reads what came back, tells what is to be told; what went wrong (it is tried again)."""
    problems = []
    try:
        answers = await asyncio.to_thread(way.answers)
        known = await _settle(store, answers)
        if known < len(answers):
            problems.append(Problem(f"{len(answers) - known} answers are about nothing that was told last", False))
        await asyncio.to_thread(way.settle)
    except (OSError, SourceError) as error:
        problems.append(Problem.of("answers cannot be read", error))
    planned = await store.read(_plan, policy, now_us)
    for start in range(0, len(planned), AT_ONCE):
        await store.write(publications.keep, planned[start : start + AT_ONCE])
    orders = [_order(told) for told in planned if told.state == "pending"]
    if not orders:
        return problems
    stamp = datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y%m%d%H%M%S")
    try:
        outcomes = await asyncio.to_thread(way.deliver, orders, stamp)
    except (OSError, SourceError) as error:
        problems.append(Problem.of("nothing could be told", error))
        outcomes = [Outcome(order.reference, "pending", str(error)) for order in orders]
    await _settle(store, outcomes)
    return problems


def states(conn: Conn) -> list[dict[str, Any]]:
    """How each mailbox stands in the directory, in the order of their addresses."""
    told = publications.told(conn)
    rows = []
    for bal in list_bals(conn):
        if bal.type is not BalType.PAT and (bal.id in told or bal.state in _SHOWN):
            rows.append({"address": bal.address, "type": str(bal.type), **state_of(told.get(bal.id))})
    return sorted(rows, key=lambda row: str(row["address"]))


def state_of(told: Told | None) -> dict[str, Any]:
    """How one mailbox stands there: never, pending, sent, published, rejected or withdrawn; and the last report."""
    if told is None:
        return {"operation": None, "state": "never", "changed_us": None, "report": None}
    report = told.report or None
    return {"operation": told.operation, "state": told.state, "changed_us": told.changed_us, "report": report}


def record_of(bal: Bal, policy: Policy) -> Published | None:
    """What the directory should say of the bal; None: nothing."""
    if bal.type is BalType.PAT or bal.state not in _SHOWN or (bal.liste_rouge and not policy.flag_liste_rouge):
        return None
    person = Rpps(bal.rpps).national if bal.rpps else Adeli(bal.adeli).national if bal.adeli else ""
    structure = Finess(bal.finess).national if bal.finess else Siret(bal.siret).national if bal.siret else ""
    return Published(
        address=bal.address,
        type=str(bal.type),
        id_pp=person,
        nom=bal.nom,
        prenom=bal.prenom,
        profession=bal.profession or "",
        id_structure=structure,
        responsable=bal.responsable,
        liste_rouge=bal.liste_rouge,
    )


def _plan(conn: Conn, policy: Policy, now_us: int) -> list[Told]:
    """What is to be told now (pending), and what cannot be told (rejected, with the reason)."""
    before = publications.told(conn)
    bals = [bal for type_ in (BalType.PER, BalType.ORG, BalType.APP) for bal in list_bals(conn, type_)]
    nexts = (_next(before.get(bal.id), record_of(bal, policy), bal.id, now_us, policy) for bal in bals)
    return [told for told in nexts if told is not None]


def _order(told: Told) -> Order:
    return Order(told.bal_id, told.operation, told.reference, msgspec.msgpack.decode(told.record, type=Published))


def _next(before: Told | None, wanted: Published | None, bal_id: int, now_us: int, policy: Policy) -> Told | None:
    """What is to be kept for this bal now, or None when all is told, or waits for its answer or its next attempt."""
    if wanted is None:
        if before is None or before.state == "withdrawn" or (before.state, before.operation) == ("rejected", PUBLISH):
            return None
        operation, record = WITHDRAW, before.record
    else:
        new = (
            before is None or before.operation == WITHDRAW or (before.state, before.operation) == ("rejected", PUBLISH)
        )
        operation, record = PUBLISH if new else UPDATE, msgspec.msgpack.encode(wanted)
    same = before is not None and before.record == record and (before.operation == WITHDRAW) == (operation == WITHDRAW)
    if before is not None and same:
        waits = before.due_us if before.state == "pending" else before.changed_us + policy.silence_us
        if before.state not in ("pending", "sent") or now_us < waits:
            return None
        due_us = now_us + int(backoff(before.attempts + 1, SCHEDULE_S)) * 1_000_000
        return msgspec.structs.replace(before, state="pending", attempts=before.attempts + 1, due_us=due_us)
    fault = wanted.fault if wanted is not None else ""
    return Told(
        bal_id=bal_id,
        operation=operation,
        state="rejected" if fault else "pending",
        record=record,
        reference=f"{bal_id}-{secrets.token_hex(6)}",
        attempts=1,
        due_us=now_us + SCHEDULE_S[0] * 1_000_000,
        changed_us=now_us,
        report=fault,
    )


async def _settle(store: Store, outcomes: Sequence[Outcome]) -> int:
    known = 0
    for start in range(0, len(outcomes), AT_ONCE):
        some = outcomes[start : start + AT_ONCE]
        told = [(outcome.reference, outcome.state, outcome.report) for outcome in some]
        known += await store.write(publications.settle, told)
    return known
