"""Mailboxes that are lent: whose folders a signed-in professional sees beside his own, and what he may do there.

Invariants:
- Rights are asked of the store: when a name is used, and again in the transaction of every change (`permit`).
- A folder that its reader may not see is answered as one that does not exist (RFC 4314 §6).
- A mailbox whose holder may not sign in is lent to nobody.
"""

from __future__ import annotations

import msgspec

from mssante.domain.bal import BalState
from mssante.domain.rights import HOLDER, letters_of
from mssante.services.refusals import Cause, MailboxRefused, nonexistent
from mssante.store import Conn, Tx, accounts, mail, subscriptions

PREFIX = "Partagées/"
"""What the names of folders that are lent begin with, before the mailbox's address (RFC 2342, Other Users)."""
_OPEN = (BalState.ACTIVE, BalState.CLOSING)


class Access(msgspec.Struct, frozen=True):
    """A mailbox as one person may use it. `letters`: his rights (`mssante.domain.rights`). `actor`, `actor_id`: the
    address and bal of who signed in, for the journal."""

    bal_id: int
    address: str
    actor: str
    actor_id: int
    letters: frozenset[str] = HOLDER

    @property
    def lent(self) -> bool:
        return self.bal_id != self.actor_id

    @property
    def prefix(self) -> str:
        """What stands before a folder's name when this person names it."""
        return f"{PREFIX}{self.address}/" if self.lent else ""

    def require(self, letters: str) -> None:
        """MailboxRefused: NONEXISTENT without the right to look, NOPERM without the others (RFC 4314 §6)."""
        if "l" not in self.letters:
            raise nonexistent()
        if not self.letters.issuperset(letters):
            raise MailboxRefused(Cause.NOPERM, "Vous n'avez pas ce droit sur cette boite")


def lent(conn: Conn, holder: Access) -> list[Access]:
    """The mailboxes of others that the holder may see, by address."""
    rights: dict[tuple[int, str], set[str]] = {}
    for one in accounts.lent_to(conn, holder.actor_id):
        if one.state in _OPEN:
            rights.setdefault((one.bal_id, one.address), set()).add(one.right)
    found = [
        Access(bal_id, address, holder.actor, holder.actor_id, letters_of(held))
        for (bal_id, address), held in rights.items()
    ]
    return [access for access in found if "l" in access.letters]


def access_now(conn: Conn, access: Access) -> Access | None:
    """The access as it is at this moment, None when there is none any more."""
    if not access.lent:
        return access
    return next((one for one in lent(conn, access) if one.bal_id == access.bal_id), None)


def acl(conn: Conn, access: Access) -> list[tuple[str, frozenset[str]]]:
    """The holder, then those who were given a right to look, by address or RPPS."""
    rights: dict[str, set[str]] = {}
    for one in accounts.delegations(conn, access.bal_id):
        rights.setdefault(one.delegate, set()).add(one.right)
    others = [(delegate, letters_of(held)) for delegate, held in rights.items()]
    return [(access.address, HOLDER), *((delegate, letters) for delegate, letters in others if letters)]


def permit(conn: Conn, access: Access, letters: str) -> None:
    """The one question before every change, asked in its transaction. MailboxRefused as `Access.require`."""
    now = access_now(conn, access)
    if now is None:
        raise nonexistent()
    now.require(letters)


def show(tx: Tx, bal_id: int, address: str, to: str) -> None:
    """Subscribes those who get a right to the mailbox's folders: clients show no others until they are told to."""
    for holder_id in accounts.delegates(tx.conn, to):
        for folder in mail.folders(tx.conn, bal_id):
            subscriptions.add_subscription(tx, holder_id, f"{PREFIX}{address}/{folder.name}")
