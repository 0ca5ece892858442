"""What goes to one domain, and who carries it: lanes, workers, and which of them hold others up.

What always holds here:
- a worker that hears nothing from its peer for a second is *slow*: it takes no place of the others any more, has a
  bounded number of places of its own, and among them who has not even got a connection makes room first;
- a lane whose workers are all slow, and as many as it may have, is *stuck*, one that has a quarter of what may be in
  hand is *sated*: neither is given more, so that one destination never fills the hand.

Words: a *lane* is all that goes to one domain; a *worker* is a task of a lane with at most one connection.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from mssante.services.deliver import Delivery
from smtp_out.connection import Connection, Timeouts
from smtp_out.dialogue import Lost


@dataclass(frozen=True, slots=True)
class CourierSettings:
    """`name` is said in EHLO. `connections` counts those that get on, there may be as many slow ones; `in_hand` counts
    recipients leased at once, without those of slow connections; times are in seconds."""

    name: str
    connections: int = 50
    connections_per_destination: int = 4
    in_hand: int = 1000
    slow_seconds: float = 1.0
    keep_seconds: float = 10.0
    messages_per_connection: int = 1000
    pause_seconds: float = 30.0
    store_pause_seconds: float = 2.0
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(slots=True, eq=False)
class Lane:
    """`fault` is set from a failed connection until the next good one."""

    domain: str
    most: int
    """Connections the peer allows at once, as far as we know."""
    proven: bool = False
    """Somebody answers there: until this is known, one connection is tried at once."""
    pending: deque[Delivery] = field(default_factory=deque)
    workers: int = 0
    idle: deque[asyncio.Future[Delivery | None]] = field(default_factory=deque)
    fault: Lost | None = None
    paused_until_us: int = 0

    @property
    def full(self) -> bool:
        return self.workers >= (self.most if self.proven else 1)


@dataclass(slots=True, eq=False)
class Worker:
    """`delivery` is what it carries, None while it is idle, since `since` (seconds of the loop's clock); `settling` the
    outcome of the delivery before, on its way into the store meanwhile; `patience` what limits its search for a
    connection."""

    lane: Lane
    delivery: Delivery | None = None
    since: float = 0.0
    connection: Connection | None = None
    patience: asyncio.Timeout | None = None
    peer: str = ""
    settling: asyncio.Task[None] | None = None

    def silent(self, now: float) -> float:
        """For how many seconds its peer has said nothing."""
        if self.delivery is None:
            return 0.0
        return now - max(self.since, self.connection.heard_at if self.connection else 0.0)


class Crew:
    """All workers, and which of them were slow when `look` looked last."""

    def __init__(self, settings: CourierSettings) -> None:
        self._settings = settings
        self.workers: dict[asyncio.Task[None], Worker] = {}
        self._slow: set[Worker] = set()

    def look(self, now: float) -> None:
        """To be called now and then; `now` in seconds of the loop's clock."""
        self._slow = {each for each in self.workers.values() if each.silent(now) > self._settings.slow_seconds}

    def left(self, task: asyncio.Task[None]) -> None:
        """This one has ended."""
        self._slow.discard(self.workers.pop(task))

    @property
    def free(self) -> int:
        """How many more connections may be opened."""
        most, count = self._settings.connections, len(self.workers)
        return min(most - (count - len(self._slow)), 2 * most - count)

    def may_open(self, lane: Lane) -> bool:
        """Is there a place for one more? Peers that were down get a quarter of the places."""
        if lane.fault is None or self.free <= 0:
            return self.free > 0
        doubtful = sum(each.lane.fault is not None and each not in self._slow for each in self.workers.values())
        return doubtful < max(1, self._settings.connections // 4)

    def make_room(self, now: float) -> None:
        """When even the places of the slow are taken: who has looked for a connection for longest gives up."""
        seeking = [worker for worker in self._slow if worker.patience is not None]
        if seeking and len(self.workers) >= 2 * self._settings.connections:
            longest = min(seeking, key=lambda worker: worker.since)
            if longest.patience is not None:
                longest.patience.reschedule(now)
                longest.patience = None

    @property
    def stuck(self) -> set[Lane]:
        """Lanes of which nobody gets on, and that may have no more connections."""
        moving = {each.lane for each in self.workers.values() if each not in self._slow}
        return {each.lane for each in self._slow if each.lane.full} - moving

    @property
    def held(self) -> int:
        """Recipients in the hands of the slow."""
        return sum(len(each.delivery.recipients) for each in self._slow if each.delivery is not None)


def sated(lane: Lane, settings: CourierSettings) -> bool:
    """Has it enough to do?"""
    return sum(len(each.recipients) for each in lane.pending) >= settings.in_hand // 4
