"""Which function runs which command. One file per family; each function gets the session and the command's value, and
gives the condition of the tagged answer (`OK ...`), or raises SyntaxFault (BAD), Refused or MailboxRefused (NO).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from imap.commands import (
    append,
    authenticate,
    copy,
    expunge,
    fetch,
    idle,
    list,
    mailboxes,
    search,
    select,
    session,
    sort,
    store,
)

RUN: Final[dict[str, Callable[[Any, Any], Awaitable[bytes]]]] = {
    "CAPABILITY": session.capability,
    "NOOP": session.noop,
    "CHECK": session.check,
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
    "UID REPLACE": append.without_message,
    "GETQUOTA": mailboxes.get_quota,
    "GETQUOTAROOT": mailboxes.get_quota_root,
    "IDLE": idle.idle,
    "FETCH": fetch.fetch,
    "UID FETCH": fetch.fetch,
    "SORT": sort.sort,
    "UID SORT": sort.sort,
    "THREAD": sort.thread,
    "UID THREAD": sort.thread,
    "STORE": store.store,
    "UID STORE": store.store,
    "COPY": copy.copy,
    "UID COPY": copy.copy,
    "MOVE": copy.move,
    "UID MOVE": copy.move,
    "EXPUNGE": expunge.expunge,
    "UID EXPUNGE": expunge.expunge,
    "SEARCH": search.search,
    "UID SEARCH": search.search,
}
