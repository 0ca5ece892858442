"""One client's session: its state (RFC 9051 §3), and the way from a complete command to its answer. No I/O here.

Invariants:
- Every command gets exactly one tagged answer; a fault of ours is told as NO [SERVERBUG] and logged, never shown.
- Before TLS no password is taken and LOGINDISABLED is said (RFC 9051 §11.1).
- EXPUNGE is told only where it is allowed: never while FETCH, STORE or SEARCH by number is answered (§7.5.1).
- What a command tells untagged comes before its tagged answer, and what other sessions did before that too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from imap import responses
from imap.framer import Command, Continue, Event, Fault, MessageStart
from imap.grammar import COMMANDS, Head, State, read_head, read_value
from imap.lexer import Refused, SyntaxFault
from imap.values import Value
from imap.view import View
from mssante.services.mailboxes import MailboxRefused

if TYPE_CHECKING:
    from imap.connection import Connection
    from imap.server import ImapServer
    from mssante.services.accounts import SignedIn
    from mssante.services.mailboxes import Account

_BY_NUMBER = frozenset({"FETCH", "STORE", "SEARCH"})
_ALWAYS = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE"
_SIGNED_IN = f"{_ALWAYS} UIDPLUS MOVE UNSELECT SPECIAL-USE CHILDREN"

_log = structlog.get_logger("imap")


class Farewell(Exception):
    """The session has to end; the text goes to the client in its BYE."""

    def __init__(self, words: str, code: str = "") -> None:
        super().__init__(words)
        self.code = code


class Session:
    __slots__ = (
        "_bad",
        "_unwatch_bal",
        "_unwatch_folder",
        "account",
        "enabled",
        "failed_logins",
        "over",
        "server",
        "upgrade",
        "view",
        "wire",
    )

    def __init__(self, server: ImapServer, wire: Connection) -> None:
        self.server = server
        self.wire = wire
        self.account: Account | None = None
        self.view: View | None = None
        self.enabled: set[str] = set()
        self.failed_logins = 0
        self.upgrade = False  # TLS begins once the running command is answered
        self.over = False
        self._bad = 0
        self._unwatch_bal: Callable[[], None] | None = None
        self._unwatch_folder: Callable[[], None] | None = None

    # -- what it is

    @property
    def capability(self) -> str:
        """Capabilities in the present state."""
        if self.account is not None:
            return _SIGNED_IN
        if self.wire.encrypted:
            return f"{_ALWAYS} AUTH=PLAIN AUTH=LOGIN"
        return f"{_ALWAYS} STARTTLS LOGINDISABLED"

    @property
    def state(self) -> State:
        if self.account is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.view is None else State.SELECTED

    @property
    def own(self) -> Account:
        """The signed-in holder's mail; only for commands that need State.AUTHENTICATED."""
        if self.account is None:
            raise SyntaxFault("sign in first")
        return self.account

    @property
    def selected(self) -> View:
        """The selected folder; only for commands that need State.SELECTED."""
        if self.view is None:
            raise SyntaxFault("select a mailbox first")
        return self.view

    def greeting(self) -> bytes:
        return b"* OK [CAPABILITY " + self.capability.encode("ascii") + b"] MSSante IMAP\r\n"

    # -- how it changes

    async def sign_in(self, who: SignedIn) -> None:
        self.account = self.server.mailboxes.account(who.bal_id, who.address)
        self._unwatch_bal = self.server.accounts.watch(who.bal_id, self._bal_closed)
        self.wire.framer.limits = self.server.settings.signed_in
        self.wire.touch()
        if not await self.server.accounts.may_stay(who.bal_id):  # closed before it was watched
            self._bal_closed()

    def select(self, view: View) -> None:
        self.unselect()
        self.view = view
        self._unwatch_folder = self.own.watch(view.folder_id, self._folder_changed)

    def unselect(self) -> None:
        if self._unwatch_folder is not None:
            self._unwatch_folder()
            self._unwatch_folder = None
        self.view = None

    def close(self) -> None:
        self.unselect()
        if self._unwatch_bal is not None:
            self._unwatch_bal()
            self._unwatch_bal = None

    def _folder_changed(self) -> None:
        if self.view is not None:
            self.view.stale = True
            if self.wire.idling:
                self.wire.wake()

    def _bal_closed(self) -> None:
        """A closed or suspended account ends its open sessions."""
        self.wire.leave("Compte ferme ou suspendu: contactez votre operateur", "CONTACTADMIN")

    # -- from octets to answers

    async def take(self, event: Event) -> None:
        """Do what one event of the framer asks, its answer included."""
        if isinstance(event, Command):
            await self._command(event)
        elif isinstance(event, Continue):
            self.wire.write(b"+ OK\r\n")
        elif isinstance(event, MessageStart):
            await self._message(event)
        elif isinstance(event, Fault):
            self._fault(event)

    def _fault(self, fault: Fault) -> None:
        self.check_fatal(fault)
        self.bad(fault.tag, fault.text)

    def check_fatal(self, fault: Fault) -> None:
        if fault.fatal:
            raise Farewell(fault.text)

    def count_failed_login(self) -> None:
        self.failed_logins += 1
        if self.failed_logins >= self.server.settings.failed_logins:
            self.wire.leave("Trop d'essais")

    def bad(self, tag: bytes | None, words: str) -> None:
        self.wire.write((tag or b"*") + b" " + responses.condition("BAD", words) + b"\r\n")
        self._bad += 1
        if self._bad >= self.server.settings.bad_commands:
            raise Farewell("Too many bad commands")

    def _head(self, command: Command) -> Head | None:
        """Tag and name of a command that may be run now; None when it was answered with BAD."""
        try:
            head = read_head(command, utf8="UTF8=ACCEPT" in self.enabled)
        except SyntaxFault as fault:
            self.bad(None, str(fault))
            return None
        known = COMMANDS.get(head.name)
        needed, state = known[0] if known else State.ANY, self.state
        if known is None:
            self.bad(head.tag, "unknown command")
        elif needed is State.NOT_AUTHENTICATED and state is not needed:
            self.bad(head.tag, "already signed in")
        elif needed.value > state.value:
            self.bad(head.tag, "not in this state: " + ("sign in first" if self.account is None else "select first"))
        else:
            return head
        return None

    async def _command(self, command: Command) -> None:
        head = self._head(command)
        if head is None:
            return
        try:
            value = read_value(head, COMMANDS[head.name][1])
        except SyntaxFault as fault:
            self.bad(head.tag, str(fault))
            return
        except Refused as refused:
            await self.finish(head, self.refusal(refused))
            return
        await self._run(head, value)

    async def _run(self, head: Head, value: Value) -> None:
        """Run a command that was read, and answer it."""
        try:
            condition = await self.server.run[head.name](self, value)
        except SyntaxFault as fault:
            self.bad(head.tag, str(fault))
            return
        except (Refused, MailboxRefused) as refused:
            condition = self.refusal(refused)
        except (Farewell, OSError):
            raise
        except Exception:  # noqa: BLE001 - the last resort: logged with its trace, told without
            _log.exception("a command failed", command=head.name)
            condition = b"NO [SERVERBUG] Erreur interne, reessayez plus tard"
        await self.finish(head, condition)

    def refusal(self, refused: Refused | MailboxRefused) -> bytes:
        code = refused.code if isinstance(refused, Refused) else refused.cause
        return responses.condition("NO", str(refused), code)

    async def finish(self, head: Head, condition: bytes) -> None:
        """The end of a command: the news, then its tagged answer."""
        view = self.view
        if view is not None and (view.stale or view.has_gone):
            await self.sync(expunge=head.name not in _BY_NUMBER)
        self.wire.write(head.tag + b" " + condition + b"\r\n")
        if self.upgrade:
            await self._upgrade()

    async def _upgrade(self) -> None:
        self.upgrade = False
        await self.wire.flush()
        await self.wire.secure()

    async def _message(self, start: MessageStart) -> None:
        """A command with a message literal: APPEND."""
        head = self._head(start.head)
        if head is None:
            self.wire.framer.refuse_message(start)
        else:
            await self.server.receive(self, head, start)

    # -- what other sessions did

    async def sync(self, *, expunge: bool) -> None:
        """Tell what happened to the selected folder. Without `expunge` messages that are gone keep their numbers."""
        view = self.view
        if view is None:
            return
        wire = self.wire
        new = False
        changed: list[int] = []
        if view.stale:
            view.stale = False
            try:
                changes = await self.own.changes(view.folder_id, view.listing.modseq)
            except MailboxRefused as refused:
                view.stale = True  # asked again after the next command
                if wire.idling:
                    wire.leave(str(refused), refused.cause)
                return
            if changes is None:
                wire.leave("Le dossier ouvert a ete supprime")
                return
            new, changed = view.follow(changes)
        if changed or new:
            self.tell_keywords(view)
        for place in changed:
            self.tell_flags(view, place)
        if expunge and view.has_gone:
            self.own.forget(view.gone_messages())
            wire.write(responses.expunge(view.take_gone()))
        if new:
            wire.write(responses.exists(len(view)) + responses.recent(view.recent))

    def tell_keywords(self, view: View) -> None:
        """FLAGS anew when messages have keywords that the client was not told of (RFC 9051 §7.3.5)."""
        if view.new_keywords():
            self.wire.write(b"* FLAGS (" + responses.flag_words(view.keywords) + b")\r\n")

    def tell_flags(self, view: View, place: int) -> None:
        """An untagged FETCH with UID and flags."""
        listing = view.listing
        words = responses.flag_list(listing.flags[place], listing.keywords_of(place), recent=view.is_recent(place))
        self.wire.write(b"* %d FETCH (UID %d FLAGS %b)\r\n" % (place + 1, listing.uids[place], words))
