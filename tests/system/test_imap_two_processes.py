"""Two processes serve one mailbox on PostgreSQL: what is done at one is told at the other, and no number ever lies."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.imap.made import Line
from tests.imap.test_many_sessions import DELAYED, Client, come_back
from tests.support.operators import Operator, copy_of
from tests.support.postgres import running_postgres
from tests.system.pairs import beside, served
from tests.system.people import Person, professional

Pair = tuple[Operator, Operator]


@pytest.fixture(scope="module")
def pair(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    network = copy_of(template, tmp_path_factory.mktemp("two") / "network")
    with closing(network), running_postgres() as server, beside(network.cabinet, server) as second:
        with served(network, network.cabinet, second) as both:
            yield both


async def signed_in(operator: Operator, person: Person) -> Line:
    line = await Line.connect(operator.port_of("imaps"), operator.trust())
    await line.line()
    assert b" OK " in (await line.command(f'LOGIN {person.address} "{person.password}"'))[-1]
    return line


async def append(line: Line, *subjects: str) -> None:
    for subject in subjects:
        text = f"Subject: {subject}\r\n\r\nBonjour\r\n"
        assert b" OK " in (await line.command(f"APPEND INBOX {{{len(text)}+}}\r\n{text}"))[-1]


async def heard(line: Line, *expected: bytes) -> None:
    for words in expected:
        assert words in await asyncio.wait_for(line.line(), 20)


async def test_what_one_process_does_is_told_at_the_other(pair: Pair) -> None:
    reader = professional(pair[0])
    here, there = await signed_in(pair[0], reader), await signed_in(pair[1], reader)
    await append(there, "un", "deux", "trois")
    await here.command("ENABLE QRESYNC")
    opened = await here.command("SELECT INBOX")
    await here.send(b"i1 IDLE\r\n")
    await heard(here, b"+ idling")
    await there.command("SELECT INBOX")
    await there.command("STORE 2 +FLAGS (\\Deleted)")
    await heard(here, b"* 2 FETCH (UID 2 FLAGS (\\Deleted")
    await there.command("EXPUNGE")
    await heard(here, b"* VANISHED 2")
    await append(there, "quatre")
    await heard(here, b"* 3 EXISTS")
    await here.send(b"DONE\r\n")
    await here.until(b"i1")

    await here.command("UNSELECT")
    await here.command("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")
    await there.command("CREATE Ailleurs")
    await heard(here, b'* LIST (\\HasNoChildren) "/" Ailleurs')
    await append(there, "cinq")
    await heard(here, b"* STATUS INBOX (MESSAGES 4 UIDNEXT 6 ")
    [modseq] = [
        line.split()[3].rstrip(b"]") for line in await here.command("EXAMINE INBOX") if b"HIGHESTMODSEQ" in line
    ]
    [validity] = [line.split()[3].rstrip(b"]") for line in opened if b"UIDVALIDITY" in line]

    here.writer.transport.abort()  # the connection is lost; meanwhile one message each changes, goes, comes
    await there.command("NOOP")
    await there.command("UID STORE 3 +FLAGS.SILENT (\\Flagged)")
    await there.command("UID STORE 4 +FLAGS.SILENT (\\Deleted)")
    await there.command("EXPUNGE")
    await append(there, "six")
    for operator in pair:
        again = await signed_in(operator, reader)
        await again.command("ENABLE QRESYNC")
        told = await again.command(b"EXAMINE INBOX (QRESYNC (%b %b))" % (validity, modseq))
        missed = [line for line in told if b"FETCH" in line or b"VANISHED" in line]
        assert [line.partition(b" FLAGS")[0] for line in missed] == [
            b"* VANISHED (EARLIER) 4",
            b"* 2 FETCH (UID 3",
            b"* 4 FETCH (UID 6",
        ]
        await again.close()
    await there.close()


async def _agree(clients: list[Client], judge: Line) -> None:
    """All know in the end what a session that begins now is told; hints of the other process take their time."""
    lines = await judge.command("UID FETCH 1:* (UID FLAGS)")
    fresh = Client(judge)
    fresh.uids = [None] * (len(lines) - 1)
    for line in lines[:-1]:
        fresh.hear(line, "UID")
    for client in clients:
        async with asyncio.timeout(120):
            while True:
                await client.command("NOOP")
                await client.command("UID FETCH 1:* (FLAGS)")
                if (client.uids, client.flags) == (fresh.uids, fresh.flags):
                    break


@pytest.mark.parametrize("seed", range(4))
async def test_sequence_numbers_never_lie_across_processes(seed: int, pair: Pair) -> None:
    choice = random.Random(seed)
    reader = professional(pair[0])
    clients: list[Client] = []
    for number in range(4):
        client = Client(await signed_in(pair[number % 2], reader))
        if not clients:
            await append(client.line, "un", "deux", "trois")
            await client.command("ENABLE QRESYNC")
        await client.command("SELECT INBOX")
        if number == 3:
            await client.command(DELAYED)
        clients.append(client)
    for step in range(40):
        if step % 13 == 12:
            line = await signed_in(choice.choice(pair), reader)
            clients[0] = await come_back(clients[0], clients[1:], line, choice)
        one, other = choice.sample(clients, 2)
        await asyncio.gather(one.act(choice), other.act(choice))
    judge = await signed_in(pair[1], reader)
    await judge.command("EXAMINE INBOX")
    await _agree(clients, judge)
    for line in (judge, *(client.line for client in clients)):
        await line.close()
