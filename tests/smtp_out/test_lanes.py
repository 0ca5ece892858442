"""Who takes which place: quick, slow, doubtful and idle workers."""

import asyncio
from typing import cast

from mssante.services.deliver import Delivery
from smtp_out.connection import Connection
from smtp_out.dialogue import Fault, Lost
from smtp_out.lanes import CourierSettings, Crew, Lane, Worker, sated

SETTINGS = CourierSettings("mx.cabinet.mssante.fr", connections=4, in_hand=8, slow_seconds=1.0)
NOW = 100.0


class Three:
    """Stands for a delivery to three recipients."""

    recipients = (1, 2, 3)


class Heard:
    """Stands for a connection on which something was heard 0.2 s ago."""

    heard_at = NOW - 0.2


THREE, HEARD = cast(Delivery, Three()), cast(Connection, Heard())


def crew(*workers: Worker) -> Crew:
    made = Crew(SETTINGS)
    made.workers = {cast("asyncio.Task[None]", object()): worker for worker in workers}
    made.look(NOW)
    return made


def worker(lane: Lane, since: float = NOW, connection: Connection | None = None) -> Worker:
    return Worker(lane, THREE, since, connection)


async def test_the_slow_take_no_place_of_others_but_are_bounded() -> None:
    lanes = [Lane(f"{number}.test", 4) for number in range(9)]
    quick = [worker(lanes[0]), worker(lanes[0], NOW - 60, HEARD), Worker(lanes[0], None, NOW - 60)]
    slow = [worker(lane, NOW - 2) for lane in lanes[1:]]
    assert crew(*quick).free == 1
    assert crew(*quick, *slow[:3]).free == 1
    assert crew(*quick, *slow[:5]).free == 0
    assert crew(*quick, *slow[:3]).held == 9


async def test_peers_that_were_down_get_a_quarter() -> None:
    up, down, also_down = Lane("a.test", 4), Lane("b.test", 4), Lane("c.test", 4)
    down.fault = also_down.fault = Lost(Fault.UNREACHABLE)
    assert crew(worker(up)).may_open(down)
    assert not crew(worker(also_down)).may_open(down)
    assert crew(worker(also_down)).may_open(up)
    assert crew(worker(also_down, NOW - 2)).may_open(down)


async def test_who_has_looked_longest_for_a_connection_makes_room() -> None:
    workers = [worker(Lane(f"{number}.test", 4), NOW - 2 - number) for number in range(8)]
    async with asyncio.timeout(None) as old, asyncio.timeout(None) as oldest:  # noqa: ASYNC100 # looked at, not waited for
        workers[2].patience, workers[5].patience = old, oldest
        now = asyncio.get_running_loop().time()
        crew(*workers[:7]).make_room(now + 60)
        assert oldest.when() is None
        crew(*workers).make_room(now + 60)
        assert (old.when(), oldest.when()) == (None, now + 60)
        oldest.reschedule(None)
    assert workers[5].patience is None


async def test_stuck_and_sated_lanes() -> None:
    stuck, moving, asked = Lane("a.test", 4, workers=1), Lane("b.test", 4, workers=2), Lane("c.test", 4)
    asked.pending.append(THREE)
    found = crew(worker(stuck, NOW - 2), worker(moving, NOW - 2), worker(moving, NOW - 60, HEARD))
    assert found.stuck == {stuck}
    stuck.proven = True
    assert found.stuck == set(), "it may have three connections more"
    assert [sated(lane, SETTINGS) for lane in (stuck, asked)] == [False, True]
