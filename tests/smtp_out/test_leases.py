"""Leases: what is in hand here is in hand nowhere else, however long it takes."""

import asyncio
import dataclasses

from mssante.store.queue import QueueState, hold, lease_due
from tests.smtp_out.conftest import World
from tests.smtp_out.office import CLINIQUE, Office, finished
from tests.smtp_out.peer import Peer, scripted

A, B, C = (f"{name}@{CLINIQUE}" for name in "abc")


async def test_what_a_dead_process_had_in_hand_is_taken_up_at_once(office: Office, world: World) -> None:
    await office.post(A)
    assert len(await office.deliveries().lease(10, set())) == 1
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        items = await office.until(finished)
    assert len(peer.received) == 1
    assert [item.attempts for item in items] == [1]


async def test_another_process_waits_for_the_end_of_the_lease(office: Office, world: World) -> None:
    await office.post(A)
    await office.store.write(lease_due, "another process", 10, 900_000_000)
    peer = Peer(world.server())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.later(899)
        await office.post(B)
        await office.until(lambda items: items[1].state is QueueState.SENT)
        assert (await office.states())[0] is QueueState.LEASED
        await office.later(1)
        await office.until(finished)
    assert [each.recipients for each in peer.received] == [[B], [A]]


async def test_a_lease_that_ends_during_a_transfer_does_not_send_twice(office: Office, world: World) -> None:
    peer = Peer(world.server(), hold=asyncio.Event())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        await peer.has_content.wait()
        await office.later(office.lease_s)
        await office.until(lambda items: (items[0].due_us or 0) > office.clock.now_us())
        assert peer.hold is not None
        peer.hold.set()
        await office.until(finished)
    assert len(peer.received) == 1


async def test_a_transfer_that_outlives_many_leases_is_nobody_elses(office: Office, world: World) -> None:
    peer = Peer(world.server(), hold=asyncio.Event())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        await peer.has_content.wait()
        for _ in range(5):
            # A third of a lease: the next look at the queue renews it.
            before = (await office.items())[0].due_us
            await office.later(office.lease_s / 3)
            await office.until(lambda items, before=before: items[0].due_us != before)  # type: ignore[misc]
            assert await office.store.write(lease_due, "another process", 10, 900_000_000) == []
        assert peer.hold is not None
        peer.hold.set()
        await office.until(finished)
    assert len(peer.received) == 1


async def test_what_another_process_took_while_it_waited_here_is_not_sent(office: Office, world: World) -> None:
    office.settings = dataclasses.replace(office.settings, connections=1)
    peer = Peer(world.server(), hold=asyncio.Event())
    async with scripted(peer.talk) as office.routes[CLINIQUE], office.courier():
        await office.post(A)
        await peer.has_content.wait()
        await office.post(B)
        await office.until(lambda items: items[1].state is QueueState.LEASED)
        # This process is held up for as long as its leases last, and looks at nothing.
        office.clock.advance(office.lease_s)
        taken = await office.store.write(lease_due, "another process", 10, 900_000_000)
        assert [item.recipient for item in taken] == [A, B]
        assert peer.hold is not None
        peer.hold.set()
        await office.until(lambda items: items[0].state is QueueState.SENT)
        await office.store.write(hold, [taken[1].id])
        await office.post(C)
        await office.until(lambda items: items[2].state is QueueState.SENT)
        assert (await office.states())[1] is QueueState.HELD
    assert [each.recipients for each in peer.received] == [[A], [C]]
