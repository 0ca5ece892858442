"""The courier: takes what is due from the queue and carries it to other operators.

What always holds here:
- the trust list is asked at every attempt, for the domain and then for the certificate that the peer shows; without
  both answers nothing of a message leaves this process;
- what is in hand is bounded in recipients and in connections, so a long queue and many dead peers cost no more memory
  than a short queue; who takes which place is said in `lanes.py`;
- each leased recipient is settled, or given back at the end, or its lease runs out after a crash: never forgotten;
- leases are renewed while their recipients are in hand, and nothing is sent whose lease may have ended until it is
  known to be still ours: another process may have it;
- a peer that is down or hangs holds nobody else up: its mail is put off with its reason and it is not asked again for
  a while, or what waits for it goes back to the queue until it says something.
"""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Callable, Iterable, Sequence

import structlog

from espace_confiance.holder import EspaceConfiance
from mssante.domain.clock import Clock
from mssante.services.deliver import Attempt, Deliveries, Delivery
from mssante.store.errors import StoreError, StoreFull, StoreUnavailable
from smtp_out import attempts
from smtp_out.connection import Connection, ConnectionLost
from smtp_out.dialogue import Envelope, EnvelopeRecipient, Fault, Lost
from smtp_out.lanes import CourierSettings, Crew, Lane, Worker, sated
from smtp_out.replies import Reply
from smtp_out.routing import NoRoute, Routing

log = structlog.get_logger("smtp_out")

_POLL = 60.0
_TURN = 20
"""Messages that a lane may send in a row while others wait for a connection."""


class Courier:
    """`run()` until `stop()`. `context()` gives the TLS context for an outbound connection that starts now."""

    def __init__(
        self,
        deliveries: Deliveries,
        routing: Routing,
        espace: EspaceConfiance,
        context: Callable[[], ssl.SSLContext],
        clock: Clock,
        settings: CourierSettings,
    ) -> None:
        self._deliveries = deliveries
        self._routing = routing
        self._espace = espace
        self._context = context
        self._clock = clock
        self._settings = settings
        self._lanes: dict[str, Lane] = {}
        self._hungry: dict[Lane, None] = {}
        self._idle: dict[asyncio.Future[Delivery | None], Lane] = {}
        self._crew = Crew(settings)
        self._tick: asyncio.TimerHandle | None = None
        self._settlings: set[asyncio.Task[None]] = set()
        self._in_hand: set[int] = set()
        self._lost: set[int] = set()
        self._renew_at_us = 0
        self._renewed_until_us = 0
        self._look_at = -1
        self._wake = asyncio.Event()
        self._stopping = False

    # -- the scheduler -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serves the queue until `stop()`."""
        unsubscribe = [
            self._deliveries.on_change(self._wake.set),
            self._deliveries.on_asked(self._end_pauses),
        ]
        reclaimed = False
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    if not reclaimed:
                        await self._deliveries.reclaim()
                        reclaimed = True
                    if self._clock.now_us() >= self._renew_at_us:
                        await self._renew()
                    pause = await self._take_due()
                except StoreError as error:
                    log.warning("queue_unavailable", reason=str(error))
                    pause = self._settings.store_pause_seconds
                if pause > 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), pause)
        finally:
            for each in unsubscribe:
                each()

    def _end_pauses(self) -> None:
        """The operator knows better than the last failure whether a peer is up again."""
        for lane in self._lanes.values():
            lane.paused_until_us = 0

    async def stop(self, grace: float) -> None:
        """Takes nothing more, lets transactions end for `grace` seconds, gives back what has no outcome."""
        self._stopping = True
        self._wake.set()
        for lane in self._lanes.values():
            lane.pending.clear()
        for future in list(self._idle):
            _hand(future, None)
        if self._tick is not None:
            self._tick.cancel()
        await self._end(set(self._crew.workers), grace)
        await self._end(self._settlings, grace)
        if self._in_hand:
            try:
                await self._deliveries.give_back(sorted(self._in_hand))
            except StoreError as error:
                log.warning("lease_not_given_back", reason=str(error))

    @staticmethod
    async def _end(tasks: set[asyncio.Task[None]], grace: float) -> None:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _take_due(self) -> float:
        """Leases what is due, as far as there is room; the seconds until it is worth looking again."""
        self._look_at = -1
        stuck = self._crew.stuck
        await self._give_back_pending(stuck)
        room = self._settings.in_hand - self._load
        if room <= self._settings.in_hand // 4:
            self._look_at = self._settings.in_hand // 2
            return _POLL
        due_us = await self._deliveries.next_due_us()
        now_us = self._clock.now_us()
        if due_us is None:
            return _POLL
        if due_us > now_us:
            return min(_POLL, (due_us - now_us) / 1_000_000)
        enough = {lane.domain for lane in self._lanes.values() if lane in stuck or sated(lane, self._settings)}
        spread = self._settings.connections
        deliveries = await self._deliveries.lease(room, self._in_hand, spread=spread, without=enough)
        if self._stopping:
            await self._deliveries.give_back([each for delivery in deliveries for each in delivery.ids])
            return 0.0
        for delivery in deliveries:
            self._in_hand.update(delivery.ids)
            lane = self._lanes.get(delivery.domain)
            if lane is None:
                lane = self._lanes[delivery.domain] = Lane(delivery.domain, self._settings.connections_per_destination)
            if lane.fault is not None and now_us < lane.paused_until_us:
                self._put_off(delivery, lane.fault)
            else:
                lane.pending.append(delivery)
                self._feed(lane)
        # Due and yet not leased: another process was faster, or its lane has enough. A moment, not a busy loop.
        self._look_at = self._load // 2
        return 0.0 if deliveries else 1.0

    async def _give_back_pending(self, lanes: Iterable[Lane]) -> None:
        """What waits for peers that say nothing goes back to the queue: others may have its place in hand."""
        deliveries = [delivery for lane in lanes for delivery in lane.pending]
        if deliveries:
            for lane in lanes:
                lane.pending.clear()
            ids = [each for delivery in deliveries for each in delivery.ids]
            self._release(ids)
            await self._deliveries.give_back(ids)

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def _load(self) -> int:
        """Recipients in hand, without those that only wait for a silent peer."""
        return len(self._in_hand) - self._crew.held

    async def _renew(self) -> None:
        """Prolongs the leases of all that is in hand, and remembers whose is another's now."""
        ids = sorted(self._in_hand)
        self._renew_at_us = self._clock.now_us() + self._deliveries.renewal_us
        if ids:
            lost, until_us = await self._deliveries.renew(ids)
            self._lost |= lost & self._in_hand
            self._renewed_until_us = until_us

    async def _still_ours(self, delivery: Delivery) -> Delivery | None:
        """What of the delivery may be sent: its lease holds. Raises StoreError when nobody can say."""
        if self._clock.now_us() >= max(delivery.leased_until_us, self._renewed_until_us):
            self._lost |= (await self._deliveries.renew(delivery.ids))[0]
        lost = self._lost.intersection(delivery.ids)
        if not lost:
            return delivery
        self._release(lost)
        return delivery.without(lost)

    def _release(self, ids: Iterable[int]) -> None:
        """No more in hand."""
        self._in_hand.difference_update(ids)
        self._lost.difference_update(ids)

    def _feed(self, lane: Lane) -> None:
        """Gives pending deliveries to idle workers first, then to new ones as far as the limits allow."""
        while lane.pending and not self._stopping:
            if lane.idle:
                future = lane.idle.popleft()
                if not future.done():
                    _hand(future, lane.pending.popleft())
            elif lane.full:
                return
            elif not self._room_for(lane):
                self._hungry[lane] = None
                return
            else:
                lane.workers += 1
                worker = Worker(lane, lane.pending.popleft(), self._now)
                task = asyncio.create_task(self._work(worker))
                self._crew.workers[task] = worker
                task.add_done_callback(functools.partial(self._ended, lane))
                if self._tick is None:
                    self._look_soon()

    def _room_for(self, lane: Lane) -> bool:
        if self._crew.may_open(lane):
            return True
        # The connection that has been idle for longest makes room: when its worker has ended, the hungry are fed.
        oldest = next(iter(self._idle), None)
        if self._crew.free <= 0 and oldest is not None:
            self._idle.pop(oldest)
            _hand(oldest, None)
        return False

    def _look(self) -> None:
        """While somebody works: who is slow now takes no place of the others, and nothing may wait for him here."""
        self._crew.look(self._now)
        if self._hungry:
            self._crew.make_room(self._now)
            self._feed_hungry()
        if self._load <= self._look_at or any(lane.pending for lane in self._crew.stuck):
            self._wake.set()
        self._tick = None
        if self._crew.workers and not self._stopping:
            self._look_soon()

    def _look_soon(self) -> None:
        self._tick = asyncio.get_running_loop().call_later(self._settings.slow_seconds / 2, self._look)

    def _feed_hungry(self) -> None:
        for lane in [*self._hungry]:
            if self._crew.free <= 0:
                break
            if self._crew.may_open(lane):
                del self._hungry[lane]
                self._feed(lane)

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        self._crew.left(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("courier_fault", exc_info=error)
        if lane.pending:
            self._hungry[lane] = None
        self._feed_hungry()
        if not lane.workers and not lane.pending and lane.fault is None:
            self._lanes.pop(lane.domain, None)

    # -- a worker ------------------------------------------------------------------------------------------------

    async def _work(self, worker: Worker) -> None:
        lane = worker.lane
        try:
            while (delivery := worker.delivery) is not None:
                ours = worker.delivery = await self._still_ours(delivery)
                if ours is not None:
                    outcome = await self._attempt(worker, ours)
                    if outcome is None:
                        lane.pending.appendleft(ours)
                        break
                    if worker.settling is not None:
                        await worker.settling
                    worker.settling = self._settle_soon(ours, outcome)
                    worker.delivery = None
                worker.delivery = await self._next(worker)
                worker.since = self._now
        except BaseException as error:
            if not self._stopping and worker.delivery is not None:
                # Its lease runs out, then it is tried again.
                self._release(worker.delivery.ids)
            if not isinstance(error, StoreError):
                raise
            log.warning("lease_not_renewed", reason=str(error))
        finally:
            lane.workers -= 1
            worker.delivery = None
            await self._drop(worker)

    async def _next(self, worker: Worker) -> Delivery | None:
        """The lane's next delivery; without one, an open connection waits a while for it.

        While other lanes wait for a connection, none is kept idle, a lane keeps one at most, and that one for a turn.
        """
        lane, connection = worker.lane, worker.connection
        crowded = bool(self._hungry) and self._crew.free <= 0
        if self._stopping:
            return None
        if lane.pending:
            turn_over = lane.workers > 1 or connection is None or connection.transactions % _TURN == 0
            return None if crowded and turn_over else lane.pending.popleft()
        if connection is None or crowded:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Delivery | None] = loop.create_future()
        timer = loop.call_later(self._settings.keep_seconds, _hand, future, None)
        lane.idle.append(future)
        self._idle[future] = lane
        try:
            return await future
        finally:
            timer.cancel()
            self._idle.pop(future, None)
            with contextlib.suppress(ValueError):
                lane.idle.remove(future)

    async def _attempt(self, worker: Worker, delivery: Delivery) -> Sequence[Attempt] | None:
        """Carries one delivery as far as it goes; what became of each recipient, in order.

        None: no connection, but other workers of the lane have one or are still trying: theirs decides.
        """
        lane = worker.lane
        liste = self._espace.liste
        if liste is None or not liste.lists(lane.domain):
            return [attempts.no_list() if liste is None else attempts.unlisted()] * len(delivery.recipients)
        if worker.connection is not None:
            if self._trusts(lane.domain, worker.connection):
                try:
                    return await self._carry(worker, worker.connection, delivery)
                except ConnectionLost:
                    log.debug("kept_connection_gone", domain=lane.domain)
            await self._drop(worker)
        try:
            connection = worker.connection = await self._connect(worker)
            lane.fault = None
            if not lane.proven:
                lane.proven = True
                self._feed(lane)
            return await self._carry(worker, connection, delivery)
        except NoRoute as error:
            return [attempts.from_no_route(error.reply)] * len(delivery.recipients)
        except ConnectionLost as error:
            await self._drop(worker)
            if lane.workers > 1:
                # A peer that takes few connections at once is not down; it gets no more than it takes.
                lane.most = lane.workers - 1
                return None
            self._down(lane, error.lost)
            return [attempts.from_lost(error.lost, peer=worker.peer)] * len(delivery.recipients)

    async def _connect(self, worker: Worker) -> Connection:
        """A connection to the first hop of the lane's domain that answers and is listed for it."""
        try:
            async with asyncio.timeout(None) as worker.patience:
                return await self._seek(worker)
        except TimeoutError as error:
            raise ConnectionLost(Lost(Fault.TIMEOUT, "too many peers are silent")) from error
        finally:
            worker.patience = None

    async def _seek(self, worker: Worker) -> Connection:
        domain = worker.lane.domain
        lost = Lost(Fault.UNREACHABLE)
        async with contextlib.aclosing(self._routing.hops(domain)) as hops:
            async for hop in hops:
                worker.peer = hop.host
                try:
                    connection = await Connection.open(
                        hop.address,
                        hop.port,
                        server_name=hop.host,
                        name=self._settings.name,
                        context=self._context(),
                        timeouts=self._settings.timeouts,
                    )
                except ConnectionLost as error:
                    found = error.lost
                else:
                    if self._trusts(domain, connection):
                        return connection
                    await connection.close()
                    found = Lost(Fault.NOT_LISTED, str(connection.peer_dn))
                log.info("hop_failed", domain=domain, host=hop.host, port=hop.port, fault=str(found))
                if lost.fault not in attempts.TRUST_FAULTS:
                    lost = found
        raise ConnectionLost(lost)

    def _trusts(self, domain: str, connection: Connection) -> bool:
        """Is the certificate that the peer showed listed for `domain`, at this moment?"""
        return connection.peer_dn is not None and self._espace.accepts(domain, connection.peer_dn)

    async def _carry(self, worker: Worker, connection: Connection, delivery: Delivery) -> Sequence[Attempt]:
        dsn = connection.offers("DSN")
        try:
            envelope = Envelope(
                delivery.sender,
                tuple(EnvelopeRecipient(each.address, each.notify, each.orcpt) for each in delivery.recipients),
                delivery.size,
                delivery.envid,
                delivery.ret,
                await self._deliveries.has_utf8_header(delivery),
            )
            results = await connection.send(envelope, self._deliveries.body(delivery))
        except StoreError as error:
            log.error("content_unreadable", message=delivery.message_id, reason=str(error))
            await self._drop(worker)
            return [attempts.unreadable()] * len(delivery.recipients)
        if not connection.usable or connection.transactions >= self._settings.messages_per_connection:
            await self._drop(worker)
        return [
            attempts.from_reply(result, peer=worker.peer, dsn=dsn)
            if isinstance(result, Reply)
            else attempts.from_lost(result, peer=worker.peer)
            for result in results
        ]

    async def _drop(self, worker: Worker) -> None:
        connection, worker.connection = worker.connection, None
        if connection is not None:
            await connection.close()

    # -- outcomes ------------------------------------------------------------------------------------------------

    def _down(self, lane: Lane, lost: Lost) -> None:
        """The domain's peers are out of reach: all that waits for them is put off with the same reason."""
        lane.fault, lane.proven = lost, False
        lane.most = self._settings.connections_per_destination
        lane.paused_until_us = self._clock.now_us() + round(self._settings.pause_seconds * 1_000_000)
        while lane.pending:
            self._put_off(lane.pending.popleft(), lost)

    def _put_off(self, delivery: Delivery, lost: Lost) -> None:
        self._settle_soon(delivery, [attempts.from_lost(lost, peer="")] * len(delivery.recipients))

    def _settle_soon(self, delivery: Delivery, outcome: Sequence[Attempt]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._settle(delivery, outcome))
        self._settlings.add(task)
        task.add_done_callback(self._settlings.discard)
        return task

    async def _settle(self, delivery: Delivery, outcome: Sequence[Attempt]) -> None:
        """Writes the outcome; while the store is away, waits for it: what was sent must not be sent again."""
        while True:
            try:
                await self._deliveries.settle(delivery, outcome)
                break
            except (StoreUnavailable, StoreFull) as error:
                log.warning("outcome_not_stored_yet", message=delivery.message_id, reason=str(error))
                await asyncio.sleep(self._settings.store_pause_seconds)
            except StoreError as error:
                log.error("outcome_not_stored", message=delivery.message_id, reason=str(error))
                break
        self._release(delivery.ids)
        if self._load <= self._look_at:
            self._wake.set()


def _hand(future: "asyncio.Future[Delivery | None]", delivery: Delivery | None) -> None:
    if not future.done():
        future.set_result(delivery)
