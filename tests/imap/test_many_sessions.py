"""Several sessions on one mailbox, at random: no sequence number ever lies, and in the end all agree with the store."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence

import pytest

from mssante.services.mailboxes import Account
from tests.imap.made import ALICE, Line, Operator, letter

EXISTS = re.compile(rb"\* (\d+) EXISTS")
EXPUNGE = re.compile(rb"\* (\d+) EXPUNGE")
VANISHED = re.compile(rb"\* VANISHED (?:\(EARLIER\) )?([0-9:,]+)")
HIGHEST = re.compile(rb".* OK \[HIGHESTMODSEQ (\d+)\].*")
FETCH = re.compile(rb"\* (\d+) FETCH \((?:UID (\d+))?(?: ?FLAGS \(([^)]*)\))?.*\)", re.DOTALL)
BY_NUMBER = ("FETCH", "STORE", "SEARCH")
DELAYED = "NOTIFY SET (selected-delayed (MessageNew (UID) MessageExpunge FlagChange)) (personal (MailboxName))"
"""Hears of what comes between its commands too, of nothing by which the numbers change (RFC 5465 §6.1.2)."""


class Client:
    """Believes what it is told: `uids[n-1]` is the UID of message n, None while it has not been told."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.uids: list[int | None] = []
        self.flags: dict[int, frozenset[bytes]] = {}
        self.modseq = 0

    async def command(self, text: str) -> bytes:
        lines = await self.line.command(text)
        for line in lines[:-1]:
            self.hear(line, text.split()[0])
        if found := HIGHEST.fullmatch(lines[-1]):
            self.modseq = int(found[1])
        return lines[-1]

    def unknown_place(self, uid: int) -> int:
        """Where a message without known UID stands that turns out to be `uid`: UIDs ascend with the numbers."""
        below = [place for place, known in enumerate(self.uids) if known is not None and known < uid]
        return self.uids.index(None, below[-1] + 1 if below else 0)

    def hear(self, line: bytes, command: str) -> None:
        if found := EXISTS.fullmatch(line):
            count = int(found[1])
            assert count >= len(self.uids), line
            self.uids += [None] * (count - len(self.uids))
        elif found := EXPUNGE.fullmatch(line):
            assert command not in BY_NUMBER, (command, line)
            uid = self.uids.pop(int(found[1]) - 1)
            if uid is not None:
                self.flags.pop(uid, None)
        elif found := VANISHED.fullmatch(line):
            assert command not in BY_NUMBER, (command, line)
            for span in found[1].split(b","):
                first, _, last = span.partition(b":")
                for uid in range(int(first), int(last or first) + 1):
                    self.flags.pop(uid, None)
                    if uid in self.uids:
                        self.uids.remove(uid)
                    elif b"EARLIER" not in line:  # one it had not been told the UID of
                        del self.uids[self.unknown_place(uid)]
        elif found := HIGHEST.fullmatch(line):
            self.modseq = int(found[1])
        elif found := FETCH.fullmatch(line):
            number = int(found[1]) - 1
            if found[2]:
                assert self.uids[number] in {None, int(found[2])}, (line, self.uids)
                self.uids[number] = int(found[2])
            uid = self.uids[number]
            if uid is not None and found[3] is not None:
                self.flags[uid] = frozenset(found[3].split()) - {b"\\Recent"}

    async def act(self, choice: random.Random) -> None:
        count = len(self.uids)
        numbers = f"{choice.randint(1, count)}:{choice.randint(1, count)}" if count else "1:*"
        text = choice.choice(
            [
                "NOOP",
                f"FETCH {numbers} (UID FLAGS)",
                f"UID FETCH {choice.randint(1, 30)}:* (UID FLAGS)",
                f"FETCH {numbers} (UID FLAGS RFC822.SIZE)",
                f"STORE {numbers} +FLAGS (\\Deleted)",
                f"STORE {numbers} -FLAGS (\\Deleted \\Flagged)",
                f"STORE {numbers} {choice.choice(['', '+', '-'])}FLAGS.SILENT (\\Flagged $k{choice.randint(1, 3)})",
                "SEARCH UNDELETED",
                "EXPUNGE",
                f"UID EXPUNGE {choice.randint(1, 30)}:*",
                f"MOVE {numbers} INBOX",
                f"COPY {numbers} INBOX",
                "APPEND INBOX {4+}\r\na: b",
            ]
        )
        if text.startswith(("MOVE", "COPY")) and count > 12:
            text = "NOOP"
        answer = await self.command(text)
        assert b" BAD " not in answer, (text, answer)
        silent = re.fullmatch(r"STORE .*SILENT.*", text)
        if silent:
            self.flags.clear()  # what a silent STORE did is the client's to work out; this one forgets instead


async def _agree(client: Client, account: Account) -> None:
    await client.command("NOOP")
    await client.command("FETCH 1:* (UID FLAGS)")
    opened = await account.open("INBOX", read_only=True)
    assert client.uids == list(opened.listing.uids)
    for place, uid in enumerate(opened.listing.uids):
        keywords = {word.encode() for word in opened.listing.keywords_of(place)}
        told = client.flags[uid]
        assert {word for word in told if not word.startswith(b"\\")} == keywords
        assert (b"\\Deleted" in told) == bool(opened.listing.flags[place] & 8)
        assert (b"\\Flagged" in told) == bool(opened.listing.flags[place] & 4)


async def come_back(client: Client, others: Sequence[Client], line: Line, choice: random.Random) -> Client:
    """A device that knew all its messages loses its connection; others go on; it is told what it missed (RFC 7162
    §3.2.5). `line`: signed in again."""
    await client.command("UID FETCH 1:* (UID FLAGS)")
    known = [uid for uid in client.uids if uid is not None]
    await client.line.close()
    for other in others:
        await other.act(choice)
        await other.act(choice)
    again = Client(line)
    again.uids, again.flags = list(known), dict(client.flags)
    await again.command("ENABLE QRESYNC")
    validity = (await line.command("STATUS INBOX (UIDVALIDITY)"))[0].split()[-1].rstrip(b")").decode()
    told = " " + ",".join(map(str, known)) if known and choice.random() < 0.5 else ""
    lines = await line.command(f"SELECT INBOX (QRESYNC ({validity} {client.modseq}{told}))")
    for one in sorted(lines[:-1], key=lambda one: not VANISHED.fullmatch(one)):  # the numbers are those after it
        again.hear(one, "SELECT")
    return again


@pytest.mark.parametrize("seed", range(6))
async def test_sequence_numbers_never_lie(
    seed: int, operator: Operator, connect: Callable[[], Awaitable[Line]]
) -> None:
    choice = random.Random(seed)
    for number in range(5):
        await operator.deliver(letter(number), ALICE)
    clients = []
    for _ in range(3):
        client = Client(await connect())
        await client.line.sign_in()
        if not clients:
            await client.command("ENABLE QRESYNC")
        await client.command("SELECT INBOX")
        if len(clients) == seed % 3:  # one of them hears between its commands too
            await client.command(DELAYED)
        clients.append(client)
    for step in range(60):
        if step % 20 == 19:
            line = await connect()
            await line.sign_in()
            clients[0] = await come_back(clients[0], clients[1:], line, choice)
        if choice.random() < 0.2:
            await operator.deliver(letter(step), ALICE)
        if choice.random() < 0.3:  # two at once
            one, other = choice.sample(clients, 2)
            await asyncio.gather(one.act(choice), other.act(choice))
        else:
            await choice.choice(clients).act(choice)
    account = operator.mailboxes.account(operator.bals[ALICE], ALICE)
    for client in clients:
        await client.command("NOOP")
    for client in clients:
        await _agree(client, account)
