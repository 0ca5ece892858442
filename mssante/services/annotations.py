"""What clients note of a mailbox's folders, and of the server for themselves (RFC 5464 METADATA).

Invariants:
- `/private/...` is seen by who set it alone, `/shared/...` by all who may read the folder; the server's own shared
  notes are nobody's to set.
- The special use of a folder is its note `/private/specialuse` (RFC 6154 §4): the same thing under two names, the
  holder's to change, each use for one folder.
- Values and their number are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mssante.services.refusals import Cause, MailboxRefused
from mssante.services.shared import Access, lent
from mssante.store import Conn, Tx, mail
from mssante.store.annotations import KEPT, annotate, marks, notes_of
from mssante.store.mail import Folder

MAX_VALUE: Final = 16_384
"""Octets of one value."""
MAX_NOTES: Final = 100
"""Notes of one person on one folder."""
SPECIAL_USE: Final = "/private/specialuse"
USES: Final = mail.USES
PRIVATE, SHARED = "/private/", "/shared/"


def read_notes(conn: Conn, access: Access, folder: Folder | None) -> dict[str, bytes]:
    """All that this person may see of the folder, or of the server (None), by name."""
    folder_id = folder.id if folder is not None else 0
    found = notes_of(conn, access.actor_id, folder_id, PRIVATE)
    if folder is not None:
        found |= notes_of(conn, access.bal_id, folder_id, SHARED)
        if folder.special_use and not access.lent:
            found[SPECIAL_USE] = folder.special_use.encode("ascii")
    return found


def note_marks(conn: Conn, holder: Access) -> dict[int, dict[str, int]]:
    """For each note that the holder may see, by folder id (0: the server) and name, what changes with its value;
    without the uses, which go with their folders."""
    return marks(conn, holder.bal_id, [one.bal_id for one in lent(conn, holder) if "r" in one.letters], SHARED)


def set_notes(tx: Tx, access: Access, folder: Folder | None, notes: Mapping[str, bytes | None]) -> None:
    """Sets the notes, takes away those of value None; all or none."""
    folder_id = folder.id if folder is not None else 0
    for name, value in notes.items():
        if name.startswith(KEPT):
            raise MailboxRefused(Cause.NOPERM, "Ce nom de note est reserve au serveur")
        if name == SPECIAL_USE:
            _use(tx, access, folder, value)
        elif name.startswith(SHARED):
            if folder is None:
                raise MailboxRefused(Cause.NOPERM, "Les notes du serveur ne se changent pas")
            annotate(tx, access.bal_id, folder_id, name, value)
        else:
            annotate(tx, access.actor_id, folder_id, name, value)
    for bal_id, names in ((access.actor_id, PRIVATE), (access.bal_id, SHARED)):
        if len(notes_of(tx.conn, bal_id, folder_id, names)) > MAX_NOTES:
            raise MailboxRefused(Cause.TOO_MANY_NOTES, "Trop de notes sur ce dossier")


def _use(tx: Tx, access: Access, folder: Folder | None, value: bytes | None) -> None:
    use = USES.get((value or b"").decode("ascii", "replace").lower())
    if folder is None or access.lent or use is None or folder.name == mail.INBOX:
        raise MailboxRefused(Cause.USEATTR, "Cet usage n'est pas possible")
    if use and any(one.special_use == use and one.id != folder.id for one in mail.folders(tx.conn, access.bal_id)):
        raise MailboxRefused(Cause.USEATTR, "Un autre dossier a deja cet usage")
    mail.set_special_use(tx, folder.id, use)
    tx.hint("folders", access.bal_id)
