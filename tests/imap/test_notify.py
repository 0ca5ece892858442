"""NOTIFY (RFC 5465) beside its transcripts: what is spelt is read as meant, limits hold, lent folders are told of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap.framer import Command
from imap.notify import FILTERS, MAX_GROUPS, NAMED, SELECTED, Events, Group
from imap.settings import ImapSettings
from imap.values import Notify
from mssante.domain.address import parse_address
from mssante.services.bals import give_right, take_right_back
from mssante.store.annotations import annotate
from mssante.store.fetched import set_fetched
from mssante.store.mail import folder_by_name
from tests.imap.made import ALICE, BOB, Line, Operator, letter
from tests.imap.reading import read

_WORDS = {
    Events.MESSAGES: "MessageNew MessageExpunge",
    Events.FLAGS: "FlagChange",
    Events.NAMES: "MailboxName",
    Events.SUBSCRIPTIONS: "SubscriptionChange",
    Events.NOTES: "MailboxMetadataChange",
    Events.SERVER_NOTES: "ServerMetadataChange",
}
_events = st.sampled_from([Events(bits) for bits in range(64) if bits & 1 or not bits & 2])
_names = st.lists(st.sampled_from(["INBOX", "a", "a/b", "Envoyés"]), min_size=1, max_size=3).map(frozenset)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    filter_ = draw(st.sampled_from(sorted(FILTERS - SELECTED)))
    return Group(filter_, draw(_events), draw(_names) if filter_ in NAMED else frozenset())


def spelt(group: Group) -> str:
    names = ["&-".join(name.split("&")).replace("é", "&AOk-") for name in group.names]
    words = " ".join(_WORDS[event] for event in _WORDS if event & group.events)
    return " ".join(filter(None, (f"({group.filter}", f"({' '.join(names)})" if names else "", f"({words}))")))


@given(st.lists(groups(), min_size=1, max_size=4), st.booleans(), st.sampled_from(["", "SELECTED", "SELECTED-DELAYED"]))
def test_what_is_spelt_is_read_as_meant(chosen: list[Group], status: bool, selected: str) -> None:
    """RFC 5465 §8"""
    chosen += [Group(selected, Events.MESSAGES)] if selected else []
    text = f"t NOTIFY SET{' STATUS' * status} {' '.join(map(spelt, chosen))}".replace("()", "NONE")
    assert read(Command((text.encode(),))).value == Notify(tuple(chosen), status)


async def test_groups_are_counted(alice: Line) -> None:
    many = " ".join(["(inboxes NONE)"] * (MAX_GROUPS + 1))
    assert b" NO [LIMIT] " in (await alice.command(f"NOTIFY SET {many}"))[-1]


class TestLimit:
    @pytest.fixture
    def imap_settings(self) -> ImapSettings:
        return ImapSettings(notify_mailboxes=7)

    async def test_too_many_folders(self, alice: Line, operator: Operator) -> None:
        """RFC 5465 §3.1, §5.8: refused, and what was in force stays; too many later end it."""
        await alice.command("NOTIFY SET (inboxes (MessageNew MessageExpunge)) (personal (MailboxName))")
        for name in ("Un", "Deux"):
            await alice.command(f"CREATE {name}")
        everything = "NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))"
        assert b" NO [NOTIFICATIONOVERFLOW] " in (await alice.command(everything))[-1]
        await operator.deliver(letter(1), ALICE)
        assert (await alice.line()).startswith(b"* STATUS INBOX (MESSAGES 1 ")
        await alice.command("DELETE Un")
        assert (await alice.command(everything))[-1].endswith(b"OK NOTIFY completed")
        lines = await alice.command("CREATE Un")
        assert lines[0].startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
        assert operator.store.hints._callbacks.keys() == {("bal", str(operator.bals[ALICE]))}
        assert len(await alice.command("CREATE Trois")) == 1


async def test_lent_folders_come_and_go(alice: Line, operator: Operator) -> None:
    """Those of others are below their prefix; a right that is taken back takes their names away."""
    below = f"Partag&AOk-es/{BOB}"
    await alice.command(f"NOTIFY SET (subtree {below} (MessageNew MessageExpunge MailboxName))")
    await operator.store.write(give_right, parse_address(BOB), ALICE, "read", "essai")
    told = [await alice.line() for _ in range(6)]
    assert all(f'\\Subscribed) "/" {below}/' in line.decode() and line.startswith(b"* LIST (") for line in told), told
    await operator.deliver(letter(1), BOB)
    assert (await alice.line()).startswith(f"* STATUS {below}/INBOX (MESSAGES 1 UIDNEXT 2 ".encode())
    await operator.store.write(take_right_back, parse_address(BOB), ALICE, "read", "essai")
    gone = [await alice.line() for _ in range(6)]
    assert all(line.startswith(b"* LIST (\\NonExistent ") for line in gone), gone


async def test_what_the_store_keeps_is_no_note(alice: Line, operator: Operator) -> None:
    """RFC 5464 §4.2, RFC 5465 §5.6: neither told nor read, whatever its name is made of."""
    await alice.command("NOTIFY SET (inboxes (MailboxMetadataChange))")
    bal_id = operator.bals[ALICE]
    inbox = await operator.store.read(folder_by_name, bal_id, "INBOX")
    assert inbox is not None
    await operator.store.write(set_fetched, bal_id, inbox.id, "imap.autre.test/Éléments lus", 1, 2)
    await operator.store.write(annotate, bal_id, inbox.id, "/private/comment", b"essai")
    assert await alice.line() == b"* METADATA INBOX /private/comment"
    lines = await alice.command("GETMETADATA (DEPTH infinity) INBOX /private")
    assert lines[0] == b'* METADATA INBOX (/private/comment "essai")'


async def test_what_is_watched_ends_with_the_session(alice: Line, operator: Operator) -> None:
    await alice.command("NOTIFY SET (personal (MessageNew MessageExpunge))")
    assert len(operator.store.hints._callbacks) > 6
    await alice.command("NOTIFY NONE")
    assert len(operator.store.hints._callbacks) == 1
    await alice.command("NOTIFY SET (personal (MessageNew MessageExpunge))")
    await alice.command("LOGOUT")
    assert await alice.line() == b""
    assert not operator.store.hints._callbacks
