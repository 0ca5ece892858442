"""Telling holders that their mailbox fills up, before it refuses mail (`452 4.2.2`).

Always true here: each rise over a level is told once, by a message in the mailbox itself, in the transaction that marks
it as told; a mailbox that was emptied below a level is told again when it passes it again. Nothing is counted when mail
arrives: every so often the mailboxes with a limit are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from mssante.domain.clock import Clock
from mssante.services.notices import letter_to
from mssante.store import PendingContent, Store, Tx
from mssante.store.mail import RECEIVING, NewMessage, add_message, deliver
from mssante.store.quota import Filled, filled, mark

_TEXT = """Bonjour,

La boîte {address} est remplie à {level} % : {used} Mo sur {quota} Mo.

Lorsqu'elle sera pleine, les nouveaux messages seront refusés et leurs expéditeurs prévenus. Pour faire de la place, \
supprimez des messages et videz la corbeille, ou demandez à votre opérateur une boîte plus grande.
"""


async def warn_of_full(store: Store, clock: Clock, levels: Sequence[int]) -> int:
    """Looks at all mailboxes with a limit; how many holders were told. Raises StoreError."""
    told = after_id = 0
    while True:
        page, after_id = await store.read(filled, levels, after_id)
        for one in page:
            if one.level > one.told and one.bal.state in RECEIVING:
                pending, message = _letter(store, one, clock.now_us())
                told += await store.write(_warn, one, message, contents=(pending,))
            else:
                await store.write(mark, one, durable=False)
        if not after_id:
            return told


def _letter(store: Store, one: Filled, now_us: int) -> tuple[PendingContent, NewMessage]:
    bal = one.bal
    text = _TEXT.format(
        address=bal.address, level=one.level, used=_megabytes(bal.used_bytes), quota=_megabytes(bal.quota_bytes or 0)
    )
    return letter_to(store, bal.address, f"Votre boîte est remplie à {one.level} %", text, now_us)


def _megabytes(octets: int) -> str:
    return f"{octets / 1_000_000:.1f}".replace(".", ",")


def _warn(tx: Tx, one: Filled, message: NewMessage) -> bool:
    if not mark(tx, one):
        return False
    deliver(tx, add_message(tx, message), [one.bal.id])
    tx.journal("quota.warned", actor="mssante", object=one.bal.address, level=one.level)
    return True
