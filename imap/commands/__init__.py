"""Which function runs which command. One file per family; each function gets the session and the command's value, and
gives the condition of the tagged answer (None: a plain `OK ... completed`), or raises SyntaxFault (BAD), Refused or
MailboxRefused (NO)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from imap.commands import (
    acl,
    append,
    authenticate,
    copy,
    expunge,
    fetch,
    idle,
    list,
    mailboxes,
    metadata,
    notify,
    search,
    select,
    session,
    sort,
    store,
)
from imap.grammar import BY_UID

RUN: Final[dict[str, Callable[[Any, Any], Awaitable[bytes | None]]]] = {
    "CAPABILITY": session.capability,
    "NOOP": session.noop,
    "CHECK": session.noop,
    "LOGOUT": session.logout,
    "ID": session.id_,
    "ENABLE": session.enable,
    "NAMESPACE": session.namespace,
    "STARTTLS": session.starttls,
    "LOGIN": authenticate.login,
    "AUTHENTICATE": authenticate.authenticate,
    "SELECT": select.select,
    "EXAMINE": select.select,
    "CLOSE": select.close,
    "UNSELECT": select.unselect,
    "CREATE": mailboxes.create,
    "DELETE": mailboxes.delete,
    "RENAME": mailboxes.rename,
    "SUBSCRIBE": mailboxes.subscribe,
    "UNSUBSCRIBE": mailboxes.unsubscribe,
    "STATUS": mailboxes.status,
    "LIST": list.list_,
    "LSUB": list.list_,
    "APPEND": append.without_message,
    "REPLACE": append.without_message,
    "GETQUOTA": mailboxes.get_quota,
    "GETQUOTAROOT": mailboxes.get_quota_root,
    "GETMETADATA": metadata.get_metadata,
    "SETMETADATA": metadata.set_metadata,
    "MYRIGHTS": acl.my_rights,
    "GETACL": acl.get_acl,
    "LISTRIGHTS": acl.list_rights,
    "SETACL": acl.change_acl,
    "DELETEACL": acl.change_acl,
    "IDLE": idle.idle,
    "NOTIFY": notify.notify,
    "FETCH": fetch.fetch,
    "SORT": sort.sort,
    "THREAD": sort.thread,
    "STORE": store.store,
    "COPY": copy.copy,
    "MOVE": copy.move,
    "EXPUNGE": expunge.expunge,
    "SEARCH": search.search,
}
RUN.update({f"UID {name}": RUN[name] for name in BY_UID})
