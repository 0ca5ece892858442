"""Mailboxes that nobody opens: warned, closing, closed (`mssante.domain.life_cycle` says when).

Always true here: each step is one transaction with its letter and its journal entry; a run that is cut goes on where it
was, and running twice takes no step twice. What is counted in memory between two calls of `Visits.flush` is lost with
the process: a minute of statistics, and for an unused mailbox nothing, as months are counted.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Final

from mssante.domain.address import parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.clock import DAY_US, Clock, month_of, months_later
from mssante.domain.life_cycle import Patience, Step, Unused, step_due
from mssante.services import bals
from mssante.services.notices import letter_to
from mssante.store import PendingContent, Store, Tx
from mssante.store.accounts import Bal
from mssante.store.mail import NewMessage, add_message, deliver
from mssante.store.visits import add_visits, prune_visits, set_warnings, unused_bals

ACTOR: Final = "systeme:inactivite"
MOTIF: Final = "inactivité"
KEPT_MONTHS: Final = 24
"""How long the visits of a month are told by `indicateurs`."""

_WARNING = """Bonjour,

Personne n'a ouvert la boîte {address} depuis le {since}.

Sans connexion de votre part, elle ne recevra plus de messages à partir du {closing}, puis elle sera fermée {days} \
jours plus tard. Pour la garder, connectez-vous une fois, ou écrivez à votre opérateur que vous vous y opposez.
"""
_CLOSING = """Bonjour,

Personne n'a ouvert la boîte {address} depuis le {since} : elle ne reçoit plus de messages.

Elle sera fermée le {closed}. D'ici là, vous pouvez vous connecter : vos messages sont là, et une connexion suffit à \
garder la boîte.
"""


class Visits:
    """Who opened which mailbox, counted here and written now and then."""

    def __init__(self) -> None:
        self._counted: dict[int, tuple[int, int]] = {}

    def note(self, bal_id: int, now_us: int) -> None:
        """A session has begun."""
        sessions, _ = self._counted.get(bal_id, (0, 0))
        self._counted[bal_id] = sessions + 1, now_us

    async def flush(self, store: Store) -> None:
        """Raises StoreError; what could not be written is written next time."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            await store.write(add_visits, counted, durable=False)
        except BaseException:
            for bal_id, (sessions, last_us) in counted.items():
                more, newer_us = self._counted.get(bal_id, (0, 0))
                self._counted[bal_id] = sessions + more, max(last_us, newer_us)
            raise


async def look_after_unused(
    store: Store, clock: Clock, patience: Patience, types: tuple[BalType, ...]
) -> Counter[Step]:
    """Takes every step that is due; how many of each. Raises StoreError."""
    now_us = clock.now_us()
    months = min((*patience.warning_months, patience.closing_months))
    taken: Counter[Step] = Counter()
    after_id = 0
    while page := await store.read(unused_bals, list(types), months_later(now_us, -months), after_id):
        for bal, unused in page:
            step = step_due(unused, now_us, patience)
            if step is not None:
                await _take(store, bal, unused, step, patience, now_us)
                taken[step] += 1
        after_id = page[-1][0].id
    await store.write(prune_visits, month_of(now_us) - KEPT_MONTHS, durable=False)
    return taken


async def _take(store: Store, bal: Bal, unused: Unused, step: Step, patience: Patience, now_us: int) -> None:
    if step is Step.FORGET:
        await store.write(_forget, bal, unused)
    elif step is Step.CLOSE:
        await store.write(_close, bal)
    else:
        pending, message = _letter(store, bal, unused, step, patience, now_us)
        await store.write(_warn, bal, unused, step, message, contents=(pending,))


def _letter(
    store: Store, bal: Bal, unused: Unused, step: Step, patience: Patience, now_us: int
) -> tuple[PendingContent, NewMessage]:
    months = (*patience.warning_months, patience.closing_months)
    left = months[-1] - months[unused.warnings]
    closing_us = max(months_later(unused.since_us, months[-1]), months_later(now_us, left))
    text = (_WARNING if step is Step.WARN else _CLOSING).format(
        address=bal.address,
        since=_day(unused.since_us),
        closing=_day(closing_us),
        closed=_day(now_us + patience.objection_days * DAY_US),
        days=patience.objection_days,
    )
    subject = "Boîte inutilisée" if step is Step.WARN else "Boîte en cours de fermeture"
    return letter_to(store, bal.address, subject, text, now_us)


def _day(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%d/%m/%Y")


def _warn(tx: Tx, bal: Bal, unused: Unused, step: Step, message: NewMessage) -> None:
    deliver(tx, add_message(tx, message), [bal.id])
    set_warnings(tx, bal.id, unused.warnings + 1, unused.since_us)
    if step is Step.WARN:
        tx.journal("bal.warned", actor=ACTOR, object=bal.address, since_us=unused.since_us)
    else:
        bals.step(tx, parse_address(bal.address), BalState.CLOSING, "bal.closing", MOTIF, ACTOR)


def _close(tx: Tx, bal: Bal) -> None:
    bals.close(tx, parse_address(bal.address), MOTIF, ACTOR)


def _forget(tx: Tx, bal: Bal, unused: Unused) -> None:
    """The holder came back, or objected: a mailbox that was closing receives again."""
    visited = unused.since_us >= unused.warned_us
    set_warnings(tx, bal.id, 0, unused.since_us if visited else tx.now_us)
    if bal.state is BalState.CLOSING:
        bals.step(tx, parse_address(bal.address), BalState.ACTIVE, "bal.reopened", MOTIF, ACTOR)
