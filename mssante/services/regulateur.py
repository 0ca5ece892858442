"""The regulator at work: what is known of an account, and closing it, which is one transaction.

Always true here: what is shown are numbers and dates, nothing of any message; closing ends sessions (the store hints
it to every process), stops the account's queued mail, answers the signalements and tells holder and reporters, all or
nothing; with two persons asked for, one proposes and another closes or either withdraws, and the journal holds all.

The functions take a transaction, as those of `bals`, so that a command beside the server does what the server would.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mssante.domain.address import Address
from mssante.domain.bal import BalState
from mssante.domain.clock import DAY_US
from mssante.services import bals
from mssante.services.notices import letter_to
from mssante.services.signalement import REPORTING
from mssante.store import Conn, NotFound, PendingContent, Store, Tx, journal
from mssante.store.accounts import Bal, find_bal, find_bals, lent_to
from mssante.store.mail import RECEIVING, NewMessage, add_message, deliver
from mssante.store.queue import QueueItem, QueueState, hold, listing, release
from mssante.store.regulateur import (
    Kind,
    correspondents,
    days_of,
    exception_of,
    set_exception,
    settle,
    signalements,
)

PROPOSED: Final = "regulateur.proposed"
WITHDRAWN: Final = "regulateur.withdrawn"
PROPOSAL_US: Final = 7 * DAY_US
"""How long a proposal to close waits for its second person."""
STOPPED: Final = "compte clos par le régulateur"
"""What `queue show` says of the mail of a closed account, and `reopen` looks for."""

_EPOCH: Final = date(1970, 1, 1).toordinal()

_CLOSED = """Bonjour,

Le régulateur de l'espace de confiance MSSanté a clos votre compte {address}.

Motif : {motif}

Vos connexions sont interrompues et vos messages en attente ne partent plus. Pour contester cette décision, \
adressez-vous à votre opérateur par un autre moyen : il peut rouvrir ce compte.
"""
_REOPENED = """Bonjour,

Votre compte {address} est rouvert. Les messages qui attendaient repartent.
"""
_ANSWERED = """Bonjour,

Vous avez signalé des messages reçus de {address}. Après examen, le régulateur a clos ce compte.

Merci pour votre vigilance.
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is made before the transaction, so that it is short: letters to the holder and to those who reported him,
    and the account's queued mail so far."""

    holder: NewMessage
    reporters: NewMessage | None = None
    queued: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """``closed`` False: proposed, it waits for another person. How many queued recipients were stopped, how many
    people told."""

    closed: bool
    stopped: int = 0
    told: int = 0


def prepare_closing(
    store: Store, address: Address, motif: str, now_us: int
) -> tuple[tuple[PendingContent, ...], Prepared]:
    """For `close`, with the contents to name in its write. Raises NotFound."""
    bal = store.read_now(bals.known_bal, address)
    queued = store.read_now(lambda conn: [item.id for item in _queued(conn, bal) if item.state is not QueueState.HELD])
    told, sender = _CLOSED.format(address=address, motif=motif), f"{REPORTING}@{address.domain}"
    holder, first = letter_to(store, str(address), "Compte clos", told, now_us, sender=sender)
    # Who was forwarded a citizen's message need not know his address, hence his INS.
    name = f"un compte de {address.domain}" if store.keys.is_patient(str(address)) else address
    text = _ANSWERED.format(address=name)
    reporters, second = letter_to(store, "", "Suite de votre signalement", text, now_us, sender=sender)
    return (holder, reporters), Prepared(first, second, tuple(queued))


def prepare_reopening(store: Store, address: Address, now_us: int) -> tuple[tuple[PendingContent, ...], Prepared]:
    """For `reopen`, with the content to name in its write."""
    text, sender = _REOPENED.format(address=address), f"{REPORTING}@{address.domain}"
    pending, first = letter_to(store, str(address), "Compte rouvert", text, now_us, sender=sender)
    return (pending,), Prepared(first)


def close(tx: Tx, address: Address, motif: str, actor: str, prepared: Prepared, *, two_persons: bool) -> Closing:
    """Raises NotFound, NotAllowed (closed already; the second person is the first)."""
    bal = bals.known_bal(tx.conn, address)
    if two_persons and bal.state is not BalState.CLOSED:
        proposer = _proposer(tx, str(address))
        if proposer == actor:
            name = tx.trace_name(str(address))
            raise bals.NotAllowed(
                f"{name}: proposed by yourself, another person has to confirm, or rouvrir withdraws it"
            )
        if proposer is None:
            bals.want(motif)
            tx.journal(PROPOSED, actor=actor, object=str(address), motif=motif)
            return Closing(False)
    came_since = _queued(tx.conn, bal, max(prepared.queued, default=0))
    waiting = [*prepared.queued, *(item.id for item in came_since if item.state is not QueueState.HELD)]
    bals.close(tx, address, motif, actor)
    reporters = [one for one in find_bals(tx.conn, settle(tx, str(address))).values() if one.state in RECEIVING]
    deliver(tx, add_message(tx, prepared.holder), [bal.id], accepting=[BalState.CLOSED])
    if reporters and prepared.reporters is not None:
        deliver(tx, add_message(tx, prepared.reporters), [one.id for one in reporters])
    stopped = hold(tx, waiting, STOPPED) if waiting else 0
    return Closing(True, stopped, 1 + len(reporters))


def _proposer(tx: Tx, address: str) -> str | None:
    """Who proposed to close the account, as long as that waits for another person."""
    for entry in reversed(journal.entries(tx.conn, object=address, since_us=tx.now_us - PROPOSAL_US)):
        if entry.action == PROPOSED:
            return entry.actor
        if entry.action in (WITHDRAWN, "bal.closed", "bal.reopened"):
            return None
    return None


def reopen(tx: Tx, address: Address, motif: str, actor: str, prepared: Prepared) -> int | None:
    """How many queued recipients are on their way again; None when the account was only proposed to be closed, which is
    withdrawn. Raises NotFound, NotAllowed."""
    if bals.known_bal(tx.conn, address).state is not BalState.CLOSED and _proposer(tx, str(address)) is not None:
        tx.journal(WITHDRAWN, actor=actor, object=str(address), motif=motif)
        return None
    bals.reopen_by_regulator(tx, address, motif, actor)
    bal = bals.known_bal(tx.conn, address)
    deliver(tx, add_message(tx, prepared.holder), [bal.id])
    held = [item.id for item in _queued(tx.conn, bal) if item.state is QueueState.HELD and item.last_reply == STOPPED]
    return release(tx, held) if held else 0


def _queued(conn: Conn, bal: Bal, after: int = 0) -> Iterator[QueueItem]:
    """The unfinished mail that this account sent, in its own name or in one that it was lent; that after an item."""
    lent = {one.address for one in lent_to(conn, bal.id)}
    while items := listing(conn, after_id=after):
        after = items[-1].id
        for item in items:
            if item.sender == bal.address or (item.sender in lent and _sent_by(conn, item, bal)):
                yield item


def _sent_by(conn: Conn, item: QueueItem, bal: Bal) -> bool:
    accepted = (one for one in journal.entries(conn, object=item.traced_as) if one.action == "message.accepted")
    return any(one.actor == bal.address for one in accepted)


def examine(conn: Conn, address: Address, now_us: int) -> dict[str, Any]:
    """What is known of an address, here or elsewhere, that has to do with abuse; times in µs. Nothing of a message."""
    name, today = str(address), now_us // DAY_US
    bal = find_bal(conn, address)
    reports = signalements(conn, name, settled=True)
    waiting = [one for one in reports if one.settled_us is None]
    exception = exception_of(conn, name, now_us)
    acts = [entry for entry in journal.entries(conn, object=name) if bals.acts_as_regulator(entry)]
    return {
        "type": str(bal.type) if bal else None,
        "state": str(bal.state) if bal else None,
        "motif": bal.motif if bal else "",
        "opened_us": bal.created_us if bal else None,
        "sent_today": _facts(conn, name, today, today),
        "sent_7_days": _facts(conn, name, today - 6, today),
        "sent_30_days": _facts(conn, name, today - 29, today),
        "correspondents": correspondents(conn, name),
        "queued": sum(1 for _ in _queued(conn, bal)) if bal else 0,
        "signalements": {str(kind): sum(one.kind is kind for one in waiting) for kind in Kind},
        "reporters": len({one.reporter for one in waiting}),
        "settled": len(reports) - len(waiting),
        "exception_most": exception.most if exception else None,
        "exception_until_us": exception.until_us if exception else None,
        "acts": [entry.action for entry in acts],
    }


def _facts(conn: Conn, name: str, first: int, last: int) -> dict[str, int]:
    sent = days_of(conn, name, first, last)
    return {"messages": sent.messages, "recipients": sent.recipients, "new_recipients": sent.novel}


def allow(tx: Tx, address: Address, most: int, until_us: int, motif: str, actor: str) -> None:
    """One text of this sender may go to `most` recipients until then (seed 004: save special cases). Raises NotFound,
    NotAllowed (no motif, an end that is past)."""
    bals.known_bal(tx.conn, address)
    bals.want(motif)
    if until_us <= tx.now_us:
        raise bals.NotAllowed("the end of the exception is past: give a later one")
    set_exception(tx, str(address), most, motif, actor, until_us)
    until = date.fromordinal(_EPOCH + until_us // DAY_US).isoformat()
    tx.journal("regulateur.exception", actor=actor, object=str(address), motif=motif, most=most, until=until)


def end_exception(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Raises NotFound (no exception in force)."""
    exception = exception_of(tx.conn, str(address), tx.now_us)
    if exception is None:
        raise NotFound(f"{tx.trace_name(str(address))} has no exception")
    set_exception(tx, str(address), exception.most, exception.motif, exception.author, tx.now_us)
    tx.journal("regulateur.exception_ended", actor=actor, object=str(address), motif=motif)
