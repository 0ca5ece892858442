"""Several sessions on one mailbox, at random: no sequence number ever lies, and in the end all agree with the store."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable

import pytest

from mssante.services.mailboxes import Account
from tests.imap.made import ALICE, Line, Operator, letter

EXISTS = re.compile(rb"\* (\d+) EXISTS")
EXPUNGE = re.compile(rb"\* (\d+) EXPUNGE")
FETCH = re.compile(rb"\* (\d+) FETCH \((?:UID (\d+))?(?: ?FLAGS \(([^)]*)\))?.*\)", re.DOTALL)
BY_NUMBER = ("FETCH", "STORE", "SEARCH")


class Client:
    """Believes what it is told: `uids[n-1]` is the UID of message n, None while it has not been told."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.uids: list[int | None] = []
        self.flags: dict[int, frozenset[bytes]] = {}

    async def command(self, text: str) -> bytes:
        lines = await self.line.command(text)
        for line in lines[:-1]:
            self.hear(line, text.split()[0])
        return lines[-1]

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
        await client.command("SELECT INBOX")
        clients.append(client)
    for step in range(60):
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
