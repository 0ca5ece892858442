"""The commands: which rule reads which, and which function runs it. One file per family; each function gets the session
and the command's value, and gives the condition of the tagged answer (None: a plain `OK ... completed`), or raises
SyntaxFault (BAD), Refused or MailboxRefused (NO)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from imap import grammar, grammar_mailboxes, grammar_messages
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
from imap.grammar import Rule, State

Run = Callable[[Any, Any], Awaitable[bytes | None]]


class Verb(NamedTuple):
    """A command: the state it needs, the rule that reads its arguments, what runs it."""

    state: State
    rule: Rule
    run: Run

    @property
    def rows(self) -> bool:
        """Whether it is about the messages of the selected folder, which have to be read for it."""
        return self.state is State.SELECTED and self.rule is not grammar.plain


COMMANDS: Final[dict[str, Verb]] = {
    "CAPABILITY": Verb(State.ANY, grammar.plain, session.capability),
    "NOOP": Verb(State.ANY, grammar.plain, session.noop),
    "LOGOUT": Verb(State.ANY, grammar.plain, session.logout),
    "ID": Verb(State.ANY, grammar.id_, session.id_),
    "STARTTLS": Verb(State.NOT_AUTHENTICATED, grammar.plain, session.starttls),
    "LOGIN": Verb(State.NOT_AUTHENTICATED, grammar.login, authenticate.login),
    "AUTHENTICATE": Verb(State.NOT_AUTHENTICATED, grammar.authenticate, authenticate.authenticate),
    "ENABLE": Verb(State.AUTHENTICATED, grammar.enable, session.enable),
    "SELECT": Verb(State.AUTHENTICATED, grammar.select, select.select),
    "EXAMINE": Verb(State.AUTHENTICATED, grammar.examine, select.select),
    "CREATE": Verb(State.AUTHENTICATED, grammar.create, mailboxes.create),
    "DELETE": Verb(State.AUTHENTICATED, grammar.mailbox, mailboxes.delete),
    "RENAME": Verb(State.AUTHENTICATED, grammar.rename, mailboxes.rename),
    "SUBSCRIBE": Verb(State.AUTHENTICATED, grammar.mailbox, mailboxes.subscribe),
    "UNSUBSCRIBE": Verb(State.AUTHENTICATED, grammar.mailbox, mailboxes.unsubscribe),
    "LIST": Verb(State.AUTHENTICATED, grammar.list_, list.list_),
    "LSUB": Verb(State.AUTHENTICATED, grammar.lsub, list.list_),
    "NAMESPACE": Verb(State.AUTHENTICATED, grammar.plain, session.namespace),
    "STATUS": Verb(State.AUTHENTICATED, grammar.status, mailboxes.status),
    "APPEND": Verb(State.AUTHENTICATED, grammar_messages.append, append.without_message),
    "GETQUOTA": Verb(State.AUTHENTICATED, grammar.get_quota, mailboxes.get_quota),
    "GETQUOTAROOT": Verb(State.AUTHENTICATED, grammar.mailbox, mailboxes.get_quota_root),
    "GETMETADATA": Verb(State.AUTHENTICATED, grammar_mailboxes.get_metadata, metadata.get_metadata),
    "SETMETADATA": Verb(State.AUTHENTICATED, grammar_mailboxes.set_metadata, metadata.set_metadata),
    "MYRIGHTS": Verb(State.AUTHENTICATED, grammar.mailbox, acl.my_rights),
    "GETACL": Verb(State.AUTHENTICATED, grammar.mailbox, acl.get_acl),
    "LISTRIGHTS": Verb(State.AUTHENTICATED, grammar_mailboxes.identified, acl.list_rights),
    "DELETEACL": Verb(State.AUTHENTICATED, grammar_mailboxes.identified, acl.change_acl),
    "SETACL": Verb(State.AUTHENTICATED, grammar_mailboxes.set_acl, acl.change_acl),
    "IDLE": Verb(State.AUTHENTICATED, grammar.plain, idle.idle),
    "NOTIFY": Verb(State.AUTHENTICATED, grammar_mailboxes.notify, notify.notify),
    "CHECK": Verb(State.SELECTED, grammar.plain, session.noop),
    "CLOSE": Verb(State.SELECTED, grammar.plain, select.close),
    "UNSELECT": Verb(State.SELECTED, grammar.plain, select.unselect),
    "EXPUNGE": Verb(State.SELECTED, grammar_messages.expunge, expunge.expunge),
    "SEARCH": Verb(State.SELECTED, grammar_messages.search, search.search),
    "SORT": Verb(State.SELECTED, grammar_messages.sort, sort.sort),
    "THREAD": Verb(State.SELECTED, grammar_messages.thread, sort.thread),
    "REPLACE": Verb(State.SELECTED, grammar_messages.replace, append.without_message),
    "FETCH": Verb(State.SELECTED, grammar_messages.fetch, fetch.fetch),
    "STORE": Verb(State.SELECTED, grammar_messages.store, store.store),
    "COPY": Verb(State.SELECTED, grammar_messages.copy, copy.copy),
    "MOVE": Verb(State.SELECTED, grammar_messages.copy, copy.move),
}
"""Every command that exists."""
_BY_UID: Final = ("COPY", "EXPUNGE", "FETCH", "MOVE", "REPLACE", "SEARCH", "SORT", "STORE", "THREAD")
COMMANDS.update({f"UID {name}": COMMANDS[name] for name in _BY_UID})
