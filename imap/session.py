"""One client's session: its state (RFC 9051 §3), and the way from a complete command to its answer. No I/O here.

Invariants:
- Every command gets exactly one tagged answer; a fault of ours is told as NO [SERVERBUG] and logged, never shown.
- Before TLS no password is taken and LOGINDISABLED is said (RFC 9051 §11.1).
- EXPUNGE is told only where it is allowed: never while FETCH, STORE, SEARCH, SORT or THREAD by number is answered
  (§7.5.1, RFC 5256 §3); a client that enabled QRESYNC is told VANISHED in its place (RFC 7162 §3.2.10).
- Between commands nothing is told but to a session that idles or asked for it with NOTIFY (RFC 5465 §3.1), which is
  then told of nothing else.
- What a command tells untagged comes before its tagged answer, and what other sessions did before that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from imap import responses
from imap.framer import Command, Continue, Event, Fault, MessageStart
from imap.grammar import Head, State, read_head, read_value
from imap.lexer import Refused, SyntaxFault
from imap.notify import Events, Watch
from imap.values import Fetch, Value
from imap.view import View, compact
from mssante.services.mailboxes import Cause, MailboxRefused

if TYPE_CHECKING:
    from imap.connection import Connection
    from imap.server import ImapServer
    from mssante.services.accounts import SignedIn
    from mssante.services.listing import Entry
    from mssante.services.mailboxes import Account

_BY_NUMBER = frozenset({"FETCH", "STORE", "SEARCH", "SORT", "THREAD"})
_ALWAYS = "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE"
_SIGNED_IN = (
    f"{_ALWAYS} UIDPLUS MOVE UNSELECT SPECIAL-USE CREATE-SPECIAL-USE CHILDREN LIST-EXTENDED LIST-STATUS STATUS=SIZE"
    " CONDSTORE QRESYNC ESEARCH SEARCHRES WITHIN PARTIAL UTF8=ACCEPT MULTIAPPEND BINARY REPLACE"
    " NOTIFY OBJECTID PREVIEW SAVEDATE SORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES QUOTA QUOTA=RES-STORAGE"
    " ACL RIGHTS=texk METADATA"
)

_log = structlog.get_logger("imap")


class Farewell(Exception):
    """The session has to end; the text goes to the client in its BYE."""

    def __init__(self, words: str, code: str = "") -> None:
        super().__init__(words)
        self.code = code


def gone() -> Refused:
    return Refused("Des messages ont ete supprimes entre-temps", "EXPUNGEISSUED")


@contextmanager
def missing_may_be_created() -> Iterator[None]:
    """Of a command into a mailbox: TRYCREATE when there is none (RFC 9051 §6.3.12)."""
    try:
        yield
    except MailboxRefused as refused:
        if refused.cause is not Cause.NONEXISTENT:
            raise
        raise Refused(str(refused), "TRYCREATE") from refused


class Session:
    def __init__(self, server: ImapServer, wire: Connection) -> None:
        self.server = server
        self.wire = wire
        self.account: Account | None = None
        self.view: View | None = None
        self.mail: Account | None = None  # the mailbox that the selected folder is in
        self.enabled: set[str] = set()
        self.tag = b""  # of the running command
        self.failed_logins = 0
        self.upgrade = False  # TLS begins once the running command is answered
        self.over = False
        self._bad = 0
        self._when_unselected: list[Callable[[], None]] = []
        self._when_closed: list[Callable[[], None]] = []
        self.watch: Watch | None = None  # what NOTIFY asked for; None: as without that extension

    # -- what it is

    @property
    def capability(self) -> str:
        """Capabilities in the present state."""
        if self.account is not None:
            return f"{_SIGNED_IN} APPENDLIMIT={self.server.settings.message_octets}"
        if self.wire.encrypted:
            offered = self.server.accounts.mechanisms(self.wire.client)
            return " ".join((_ALWAYS, *(f"AUTH={mechanism}" for mechanism in offered)))
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

    @property
    def writable(self) -> View:
        """The selected folder; Refused when it is selected to be read only."""
        view = self.selected
        if view.read_only:
            raise Refused("Le dossier est ouvert en lecture seule")
        return view

    @property
    def there(self) -> Account:
        """The mailbox that the selected folder is in: the holder's own, or one that is lent to him."""
        if self.mail is None:
            raise SyntaxFault("select a mailbox first")
        return self.mail

    @property
    def rev2(self) -> bool:
        """The client asked for IMAP4rev2: no \\Recent, ESEARCH in place of SEARCH (RFC 9051 appendix E)."""
        return "IMAP4REV2" in self.enabled

    @property
    def utf8(self) -> bool:
        """Mailbox names are UTF-8 (RFC 6855 §3, RFC 9051 §5.1)."""
        return not self.enabled.isdisjoint({"UTF8=ACCEPT", "IMAP4REV2"})

    @property
    def condstore(self) -> bool:
        """The client wants to hear modseqs (RFC 7162 §3.1)."""
        return "CONDSTORE" in self.enabled

    def mailbox(self, name: str) -> bytes:
        """A mailbox name as this client reads it."""
        return responses.mailbox(name, utf8=self.utf8)

    def use_condstore(self) -> None:
        """A CONDSTORE enabling command was given (RFC 7162 §3.1)."""
        if not self.condstore:
            self.enabled.add("CONDSTORE")
            if self.view is not None:
                self.wire.write(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % self.view.listing.modseq)

    def greeting(self) -> bytes:
        return b"* OK [CAPABILITY " + self.capability.encode("ascii") + b"] MSSante IMAP\r\n"

    # -- how it changes

    async def sign_in(self, who: SignedIn) -> None:
        self.account = self.server.mailboxes.account(who.bal_id, who.address)
        self._when_closed.append(self.server.accounts.watch_session(who, self._bal_closed))
        self.wire.framer.limits = self.server.settings.signed_in
        self.wire.touch()

    async def select(self, view: View, mail: Account) -> None:
        self.unselect()
        self.view, self.mail = view, mail
        self._when_unselected = [mail.watch(view.folder_id, self._folder_changed)]
        if not view.read_only:
            self._when_unselected.append(partial(mail.recents.leave, view.folder_id))
        if mail.access.lent:
            watch = self.server.accounts.watch([mail.bal_id], self._rights_changed, mail.may_go_on)
            self._when_unselected.append(watch)
            if not await mail.may_go_on():  # taken away before they were watched
                self._rights_changed()

    def unselect(self) -> None:
        for end in self._when_unselected:
            end()
        self._when_unselected = []
        self.view = self.mail = None
        if self.watch is not None:
            self.watch.stale = self.watch.elsewhere  # what came while it was selected

    def close(self) -> None:
        self.unselect()
        for end in self._when_closed:
            end()
        self._when_closed = []
        if self.watch is not None:
            self.watch.end()

    def _folder_changed(self, entry: Entry | None) -> None:
        if self.view is not None:
            self.view.hear(entry)
            if self.wire.idling or self.wire.meanwhile is not None:
                self.wire.wake()

    def _bal_closed(self) -> None:
        """A closed or suspended account ends its open sessions; a changed password or revoked device, its own."""
        self.wire.leave("Compte clos ou acces change: reconnectez-vous, sinon voyez votre operateur", "CONTACTADMIN")

    def _rights_changed(self) -> None:
        """A selection does not outlive the rights it was made with; the client comes back with those of now."""
        self.wire.leave("Vos droits sur la boite ouverte ont change, reconnectez-vous", "NOPERM")

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
        if fault.code and fault.tag is not None:
            self.wire.write(fault.tag + b" " + responses.condition("NO", fault.text, fault.code) + b"\r\n")
        else:
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
            head = read_head(command, utf8=self.utf8)
        except SyntaxFault as fault:
            self.bad(None, str(fault))
            return None
        known = self.server.commands.get(head.name)
        needed, state = known.state if known else State.ANY, self.state
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
            value = read_value(head, self.server.commands[head.name].rule)
        except SyntaxFault as fault:
            self.bad(head.tag, str(fault))
            return
        except Refused as refused:
            await self.finish(head, self.refusal(refused))
            return
        await self._run(head, value)

    async def _run(self, head: Head, value: Value) -> None:
        """Run a command that was read, and answer it."""
        self.tag = head.tag
        try:
            verb = self.server.commands[head.name]
            if verb.rows:
                await self.read_rows()
            condition = await verb.run(self, value)
            condition = condition or b"OK %b completed" % head.name.removeprefix("UID ").encode("ascii")
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
        await self.tell_elsewhere()
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

    async def read_rows(self) -> None:
        """Read the messages of the selected folder, if that was not done; what happened to them since it was selected
        is told when there is occasion."""
        view = self.view
        if view is not None and view.unread is not None:
            view.read(*await self.own.rows(view.unread))
            view.hear()

    async def sync(self, *, expunge: bool) -> None:
        """Tell what happened to the selected folder. Without `expunge` messages that are gone keep their numbers."""
        view = self.view
        if view is None:
            return
        wire = self.wire
        new, highest, changed = False, 0, list[int]()
        wanted = Events.MESSAGES | Events.FLAGS if self.watch is None else self.watch.selected
        if view.stale and wanted:
            try:
                changes = view.take_heard() or await self.own.changes(view.folder_id, view.listing.modseq)
                if changes is not None and changes.modseq > view.listing.modseq:
                    await self.read_rows()
            except MailboxRefused as refused:
                view.hear()  # asked again after the next command
                if wire.idling or wire.meanwhile is not None:
                    wire.leave(str(refused), refused.cause)
                return
            if changes is None:
                wire.leave("Le dossier ouvert a ete supprime")
                return
            highest = view.listing.uids[-1] if len(view) else 0
            new, changed = view.follow(changes)
        if not wanted & Events.FLAGS:
            changed = []
        if changed or new:
            self.tell_keywords(view)
        for place in changed:
            self.tell_flags(view, place)
        if expunge and view.has_gone:
            self.own.messages.forget(view.gone_messages())
            if "QRESYNC" in self.enabled:
                wire.write(responses.vanished(compact(view.gone_uids())))
                view.take_gone()
            else:
                wire.write(responses.expunge(view.take_gone()))
        if new:
            wire.write(responses.exists(len(view)))
            self.tell_recent(view)
            if not view.read_only and len(view):
                self.there.recents.tell(view.folder_id, view.listing.uids[-1] + 1)
            if self.watch is not None and self.watch.items:
                await self._fetch_new(Fetch(((highest + 1, view.listing.uids[-1]),), self.watch.items, True))

    async def _fetch_new(self, wanted: Fetch) -> None:
        """What NOTIFY asked to be told of new messages (RFC 5465 §5.2)."""
        try:
            await self.server.commands["UID FETCH"].run(self, wanted)
        except (Refused, MailboxRefused) as refused:
            self.wire.write(b"* " + self.refusal(refused) + b"\r\n")

    async def tell_elsewhere(self) -> None:
        """News of other folders than the selected one, for who asked with NOTIFY."""
        if self.watch is not None and self.watch.stale and not self.over:
            await self.server.tell_news(self, self.watch)

    async def meanwhile(self) -> None:
        """Between two commands: what NOTIFY asked for. EXPUNGE is held back for SELECTED-DELAYED (RFC 5465 §6.1.2)."""
        watch, view = self.watch, self.view
        at_once = watch is not None and not watch.delayed
        if view is not None and (view.stale or (view.has_gone and at_once)):
            await self.sync(expunge=at_once)
        await self.tell_elsewhere()

    def tell_recent(self, view: View) -> None:
        """RECENT, which IMAP4rev2 does not know (RFC 9051 appendix E.7)."""
        if not self.rev2:
            self.wire.write(responses.recent(view.recent))

    async def expunged(self, uids: Sequence[int], name: str) -> bytes:
        """The client took messages out of the selected folder: told at once, with the condition that ends the
        command. HIGHESTMODSEQ is the modseq of all that was told (RFC 7162 §3.2.7)."""
        view = self.selected
        if not uids:
            return b"OK %b completed" % name.encode("ascii")
        view.lose(uids)
        view.hear()
        await self.sync(expunge=True)
        code = b"[HIGHESTMODSEQ %d] " % view.listing.modseq if self.condstore else b""
        return b"OK %b%b completed" % (code, name.encode("ascii"))

    def tell_keywords(self, view: View) -> None:
        """FLAGS anew when messages have keywords that the client was not told of (RFC 9051 §7.3.5)."""
        if view.new_keywords():
            self.wire.write(b"* FLAGS (" + responses.flag_words(view.keywords) + b")\r\n")

    def tell_flags(self, view: View, place: int) -> None:
        """An untagged FETCH with UID and flags, and the modseq for who wants it (RFC 7162 §3.2)."""
        modseq = b" MODSEQ (%d)" % view.listing.modseqs[place] if self.condstore else b""
        numbers = place + 1, view.listing.uids[place]
        self.wire.write(b"* %d FETCH (UID %d FLAGS %b%b)\r\n" % (*numbers, view.flags_at(place), modseq))

    def tell_modseq(self, view: View, place: int) -> None:
        """An untagged FETCH for a silent STORE: what the client cannot know (RFC 7162 §3.1.3)."""
        listing = view.listing
        self.wire.write(
            b"* %d FETCH (UID %d MODSEQ (%d))\r\n" % (place + 1, listing.uids[place], listing.modseqs[place])
        )
