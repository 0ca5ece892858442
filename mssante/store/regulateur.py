"""What the regulator judges by: one text sent again and again, whom a mailbox writes to, its days, signalements,
exceptions.

Always true here: no content, no subject, no patient's address in clear: senders and reporters stand as their locator,
recipients as eight octets of a keyed hash; counting is atomic between processes; every row but a signalement and an
exception has its end (`prune`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select, update

from mssante.domain.clock import DAY_US
from mssante.store.engines import keys_of
from mssante.store.keys import CORRESPONDENT
from mssante.store.prepared import Prepared, put, upsert
from mssante.store.schema import bal, correspondent, same_text, sending_day, sending_exception, signalement
from mssante.store.writer import Tx


class Kind(StrEnum):
    """How something came to the regulator's notice."""

    JUNK = "indesirable"
    PHISHING = "hameconnage"
    FORWARDED = "transfert"
    SPLIT = "fractionnement"
    MASS = "envoi-en-nombre"


SYSTEM: Final = "systeme"
"""The reporter of what the service itself noticed."""


class Signalement(msgspec.Struct, frozen=True):
    """`about` and `reporter` as locators; `reference`: which message or day, so that one is reported once by each."""

    id: int
    at_us: int
    about: str
    kind: Kind
    reporter: str
    reference: str
    settled_us: int | None


class SendingException(msgspec.Struct, frozen=True):
    """`sender` (a locator) may send one text to `most` recipients until `until_us`."""

    sender: str
    most: int
    motif: str
    author: str
    since_us: int
    until_us: int


class Sending(msgspec.Struct, frozen=True):
    """One accepted message: who to whom."""

    sender: str
    recipients: tuple[str, ...]
    bulk: bool
    """Of an applicative mailbox."""


class Days(msgspec.Struct, frozen=True):
    """Sums over the days on which a mailbox sent. `novel`: recipients that it had never written to."""

    days: int
    messages: int
    recipients: int
    novel: int


# --- one text

_FIRST = Prepared(upsert(same_text).on_conflict_do_nothing())
_KNOWN = Prepared(
    select(same_text.c.since_us, same_text.c.recipients)
    .where(same_text.c.mark == bindparam("of_mark"))
    .with_for_update()
)
_GROW = Prepared(
    update(same_text)
    .where(same_text.c.mark == bindparam("of_mark"))
    .values(since_us=bindparam("new_since"), recipients=bindparam("new_recipients"))
)


def count_recipients(tx: Tx, sender: str, text: bytes, recipients: Iterable[str], window_us: int) -> int:
    """How many distinct recipients this text of this sender has had within the window, with these. `text` is any digest
    of it. The transaction that is undone counted nothing."""
    mark = tx.keys.digest(b"text", sender.encode(), text)
    mine = {tx.keys.correspondent(one) for one in recipients}
    first = {"mark": mark, "since_us": tx.now_us, "recipients": _packed(mine)}
    known: list[tuple[int, bytes]] = []
    while not known:  # it may be pruned between the two
        if _FIRST.count(tx.conn, first):  # nearly every text is; waits for whoever writes the same one now
            return len(mine)
        known = _KNOWN.rows(tx.conn, {"of_mark": mark})
    ((since_us, packed),) = known
    if since_us > tx.now_us - window_us:
        every = mine | {packed[start : start + CORRESPONDENT] for start in range(0, len(packed), CORRESPONDENT)}
    else:
        every, since_us = mine, tx.now_us
    if (now_packed := _packed(every)) != packed:
        _GROW.count(tx.conn, {"of_mark": mark, "new_since": since_us, "new_recipients": now_packed})
    return len(every)


def _packed(recipients: Collection[bytes]) -> bytes:
    return b"".join(sorted(recipients))


# --- what a mailbox does

_MEET = Prepared(upsert(correspondent).on_conflict_do_nothing())
_day = upsert(sending_day)
_ADD_DAY = Prepared(
    _day.on_conflict_do_update(
        index_elements=[sending_day.c.sender, sending_day.c.day],
        set_={name: sending_day.c[name] + _day.excluded[name] for name in ("messages", "recipients", "novel")},
    ).returning(sending_day.c.novel)
)


def record_sendings(tx: Tx, sendings: Sequence[Sending]) -> dict[tuple[str, bool], int]:
    """Adds messages to what is known of their senders: how many recipients were new today for each (sender, bulk)."""
    keys, day = tx.keys, tx.now_us // DAY_US
    novel_today = {}
    senders: dict[tuple[str, bool], list[Sending]] = {}
    for one in sendings:
        senders.setdefault((one.sender, one.bulk), []).append(one)
    for (sender, bulk), messages in sorted(senders.items()):  # in one order in every process: no deadlock
        locator = keys.locator(sender)
        met = sorted({keys.correspondent(to) for one in messages for to in one.recipients})
        novel = _MEET.many(tx.conn, [{"sender": locator, "recipient": one, "since_us": tx.now_us} for one in met])
        counts = {"messages": len(messages), "recipients": sum(len(one.recipients) for one in messages)}
        ((novel_today[sender, bulk],),) = _ADD_DAY.rows(
            tx.conn, {"sender": locator, "day": day, "novel": novel, **counts}
        )
    return novel_today


def days_of(conn: Connection, sender: str, first: int, last: int) -> Days:
    """What the mailbox sent from day `first` to day `last` (days since the epoch, UTC), both included."""
    found = conn.execute(
        select(
            func.count(),
            *(func.coalesce(func.sum(sending_day.c[name]), 0) for name in ("messages", "recipients", "novel")),
        ).where(sending_day.c.sender == keys_of(conn).locator(sender), sending_day.c.day.between(first, last))
    ).one()
    return Days(*(int(value) for value in found))


def correspondents(conn: Connection, sender: str) -> int:
    """To how many the mailbox has written, of late."""
    query = select(func.count()).where(correspondent.c.sender == keys_of(conn).locator(sender))
    return int(conn.execute(query).scalar_one())


# --- signalements

_REPORT = upsert(signalement).on_conflict_do_nothing().returning(signalement.c.id)


def report(tx: Tx, about: str, kind: Kind, reporter: str, reference: str) -> bool:
    """False when that reporter said it of that message before."""
    values = {
        "at_us": tx.now_us,
        "about": tx.keys.locator(about),
        "kind": str(kind),
        "reporter": tx.keys.locator(reporter),
        "reference": reference,
    }
    return tx.conn.execute(_REPORT, values).first() is not None


def signalements(conn: Connection, about: str | None = None, *, settled: bool = False) -> list[Signalement]:
    """Those that wait, with `settled` the others too; of one address when asked."""
    query = select(*(signalement.c[name] for name in Signalement.__struct_fields__)).order_by(signalement.c.id)
    if about is not None:
        query = query.where(signalement.c.about == keys_of(conn).locator(about))
    if not settled:
        query = query.where(signalement.c.settled_us.is_(None))
    return [
        Signalement(id_, at_us, about, Kind(kind), reporter, reference, settled_us)
        for id_, at_us, about, kind, reporter, reference, settled_us in conn.execute(query)
    ]


def settle(tx: Tx, about: str) -> list[str]:
    """The signalements of this address are answered: the locators of those who made them."""
    open_ones = signalement.c.settled_us.is_(None) & (signalement.c.about == tx.keys.locator(about))
    change = update(signalement).where(open_ones).values(settled_us=tx.now_us).returning(signalement.c.reporter)
    return sorted(set(tx.conn.execute(change).scalars()))


def names(conn: Connection, locators: Iterable[str]) -> Mapping[str, str]:
    """The addresses behind the locators of citizens that have their mailbox here; any other locator is its own name."""
    wanted = {one for one in locators if one.startswith("ins:")}
    query = select(bal.c.locator, bal.c.sealed_address).where(bal.c.locator.in_(wanted))
    keys = keys_of(conn)
    return {locator: keys.unseal(sealed).decode() for locator, sealed in conn.execute(query)} if wanted else {}


# --- exceptions

_EXCEPTIONS = select(*(sending_exception.c[name] for name in SendingException.__struct_fields__))


def exceptions(conn: Connection) -> list[SendingException]:
    """All of them, ended ones too."""
    return [SendingException(*row) for row in conn.execute(_EXCEPTIONS.order_by(sending_exception.c.sender))]


def exception_of(conn: Connection, sender: str, now_us: int) -> SendingException | None:
    """The one in force for this sender."""
    of_sender = sending_exception.c.sender == keys_of(conn).locator(sender)
    row = conn.execute(_EXCEPTIONS.where(of_sender, sending_exception.c.until_us > now_us)).first()
    return SendingException(*row) if row else None


def set_exception(tx: Tx, sender: str, most: int, motif: str, author: str, until_us: int) -> None:
    """Gives the sender an exception, in the place of the one it has. `until_us` past: it ends."""
    given = SendingException(tx.keys.locator(sender), most, motif, author, tx.now_us, until_us)
    put(tx.conn, sending_exception, msgspec.structs.asdict(given))
    tx.hint("exceptions")


def prune(tx: Tx, texts_before_us: int, days_before_us: int) -> None:
    """Forgets texts first seen, and days and correspondents older, than these moments."""
    tx.conn.execute(delete(same_text).where(same_text.c.since_us < texts_before_us))
    tx.conn.execute(delete(correspondent).where(correspondent.c.since_us < days_before_us))
    tx.conn.execute(delete(sending_day).where(sending_day.c.day < days_before_us // DAY_US))
