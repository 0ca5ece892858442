"""What one sender sends: one text is counted with the message itself, the rest is looked at a moment later.

Always true here: the count is made in the accepting transaction, so that a refused message counts nothing and no two
processes count apart; what a mailbox does day by day is written for many messages at once, beside the mail, and what
it shows is put before the regulator, never held against a message.
"""

import asyncio
import hashlib
from collections.abc import Sequence

import structlog

from mssante.domain.bal import BalType
from mssante.domain.clock import DAY_US
from mssante.domain.exchange import is_fin
from mssante.domain.mass import Limits
from mssante.domain.transaction import HeaderFacts
from mssante.domain.verdict import Refuse, Rule
from mssante.services.signalement import signal_of_day
from mssante.services.transaction import MailTransaction
from mssante.store import Store, StoreError, Tx
from mssante.store.regulateur import (
    Kind,
    Sending,
    count_recipients,
    days_of,
    exception_of,
    record_sendings,
)

LEAST_TEXT = 64
"""Octets below which a text is nobody's campaign: a thank-you."""
MOST_OF_FIN = 4096
"""Octets of a [FIN] that says no more than that, with the empty page that a mail program puts in it."""
FLUSH_S = 1.0

log = structlog.get_logger("mssante.mass")


class Text:
    """The mark of a text. Its white space does not count: an empty line more is the same text."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def update(self, data: bytes | bytearray) -> None:
        self._hash.update(data.translate(None, b" \t\r\n"))

    def digest(self) -> bytes:
        return self._hash.digest()


def sending_of(mail: MailTransaction) -> Sending | None:
    """Who to whom, for what is known of the sender; None of a notice."""
    if mail.sender is None:
        return None
    holder = mail.caller.holder
    bulk = holder is not None and holder.bal_type is BalType.APP
    return Sending(str(mail.sender), tuple(map(str, mail.recipients)), bulk)


def is_counted(mail: MailTransaction, headers: HeaderFacts, octets: int) -> bool:
    """Whether a message of so many octets after its header can be one of many alike. The end of an exchange is not, nor
    an answer to one person: they say the same to everybody without being the same message."""
    if octets < LEAST_TEXT or (headers.references and len(mail.recipients) == 1):
        return False
    return octets > MOST_OF_FIN or not is_fin(headers.subject, headers.x_mss_mes, mail.facts.charter.fin_exact)


def one_text_too_many(tx: Tx, sending: Sending, text: bytes, limits: Limits) -> Refuse | None:
    """``recipients.split``. In the accepting transaction. Source: seed 004, facts 7.3.

    The same text of one sender, over whatever messages, sessions and processes, to more distinct recipients than one
    message may have; unless the regulator has given him an exception.
    """
    count = count_recipients(tx, sending.sender, text, sending.recipients, limits.window_us)
    if count <= limits.most(bulk=sending.bulk):
        return None
    exception = exception_of(tx.conn, sending.sender, tx.now_us)
    if exception is not None and count <= exception.most:
        return None
    return Refuse(Rule.RECIPIENTS_SPLIT, f"{count} recipients of one text in {limits.same_text_hours} hours")


def signal_split(tx: Tx, sender: str) -> None:
    """Puts before the regulator that a sender tried."""
    signal_of_day(tx, sender, Kind.SPLIT)


class Watch:
    """Looks at what senders do beside the mail; one for the process. `close` before the store is closed."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store, self.limits = store, limits
        self._waiting: list[Sending] = []
        self._task: asyncio.Task[None] | None = None

    def note(self, sending: Sending) -> None:
        """The message was accepted."""
        self._waiting.append(sending)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        self._task = None
        await self.flush()

    async def flush(self) -> None:
        """Writes what waits. What cannot be written now is given up: it is a help to the regulator, not a promise."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            await self._store.write(_record, waiting, self.limits, durable=False)
        except StoreError as fault:
            log.warning("mass.not_recorded", messages=len(waiting), fault=str(fault))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self.flush()


def _record(tx: Tx, sendings: Sequence[Sending], limits: Limits) -> None:
    today = tx.now_us // DAY_US
    for (sender, bulk), novel in record_sendings(tx, sendings).items():
        if novel < limits.least_novel(bulk=bulk):
            continue
        past = days_of(tx.conn, sender, today - limits.past_days, today - 1)
        if limits.is_mass(novel, past.novel, past.days, bulk=bulk) and not exception_of(tx.conn, sender, tx.now_us):
            signal_of_day(tx, sender, Kind.MASS, novel=novel)
