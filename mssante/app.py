"""The running operator: builds the rooms from the settings, starts them, keeps their files fresh, drains and stops.

Always true here: ``ready`` is said only when every port of the configuration listens; what fails before that is one
clear line and an
exit code, never a half-started service; SIGTERM ends with 0 after what was promised is kept; SIGHUP drops no session.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from math import nan

import msgspec
import structlog
from starlette.applications import Starlette
from structlog.tracebacks import ExceptionDictTransformer

from espace_confiance.routes import Routes
from espace_confiance.upkeep import Upkeep
from imap.server import ImapServer
from mssante import rooms
from mssante.config import ConfigError, Settings, load
from mssante.directory import directory_alarms, upkeep_of
from mssante.domain.address import parse_address
from mssante.domain.clock import HOUR_US, Clock, SystemClock
from mssante.housekeeping import Housekeeping
from mssante.mime.dkim import load_signing_key
from mssante.services.accounts import Accounts
from mssante.services.arrival import DkimKey, Intake
from mssante.services.deliver import Deliveries
from mssante.services.guard import Guard
from mssante.services.loop_watch import LoopWatch
from mssante.services.mailboxes import Mailboxes
from mssante.services.mass import Watch
from mssante.services.passwords import PasswordCost, Passwords
from mssante.services.patient_notices import PatientNotices, Relay
from mssante.services.reception import Reception
from mssante.services.resolver import Resolver, name_server
from mssante.services.searching import keep_in_step, reading_of
from mssante.store import Store, StoreError, StoreUnavailable
from mssante.store.keys import read_master_key
from mssante.trust import alarms, connect_of, contexts_of, espace_of, life_of, relay_of, revocation_of
from portail.autoconfig import routes
from portail.health import Figure, health
from portail.web import Pages
from smtp_in import listeners as smtp_in
from smtp_out.connection import Timeouts
from smtp_out.courier import Courier
from smtp_out.lanes import CourierSettings
from smtp_out.routing import Routing
from tls.asyncio_fit import fit_asyncio
from tls.certificates import TlsError
from tls.crl import remaining_s

DRAIN_SECONDS = 25.0
"""For sessions to end at SIGTERM; service managers send SIGKILL after 30 or 90."""
FRESH_SECONDS = 2.0
"""How often the files of certificates, revocation, white list and routes are looked at."""

log = structlog.get_logger("mssante")


class StartFailure(Exception):
    """The service cannot start; ``code`` is the exit code of interface commands (2 configuration, 3 out of reach)."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Operator:
    """All rooms of one process. `start` opens the doors or raises StartFailure, `stop` drains; both once."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._watch = LoopWatch()
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._carrying: asyncio.Task[None] | None = None
        self._refresh = asyncio.Event()
        self._reread = False
        self._faults: dict[str, str] = {}
        self._announced: dict[str, int] = {}
        self._crl_ahead_us = settings.tls.crl_alarm_hours * HOUR_US
        self._smtp: smtp_in.Listeners | None = None
        self._imap: ImapServer | None = None
        self.doors = ""

    async def start(self) -> None:
        """Builds from the ground up: what lasts, the trust space, the services, then the doors."""
        settings = self._settings
        try:
            self._contexts = contexts_of(settings)
            connect = connect_of(settings)
            relay = relay_of(settings)
        except TlsError as fault:
            raise StartFailure(f"tls: {fault}", 2) from fault
        self._espace = espace_of(settings, self._clock)
        self._revocation = revocation_of(settings, self._clock)
        self._upkeep = Upkeep(
            self._espace,
            self._revocation,
            self._contexts.https_client,
            crl_refresh_s=settings.tls.crl_refresh_s,
            on_change=self._refresh.set,
        )
        self._store = await asyncio.to_thread(_open_store, settings, self._clock)
        self._closing.append(lambda: asyncio.to_thread(self._store.close))
        try:
            self._reading = reading_of(settings.imap.search, pdf=settings.imap.search_pdf)
        except ImportError as fault:
            raise StartFailure(f"imap: search_pdf needs {fault.name}: install mssante[pdf]", 2) from fault
        passwords = Passwords(
            PasswordCost(settings.passwords.memory_kib, settings.passwords.passes),
            remember_us=settings.passwords.remember_minutes * 60_000_000,
        )
        accounts = Accounts(self._store, passwords, self._clock, connect=connect)
        if connect is not None:
            self._closing.append(connect.close)
        self._resolver = Resolver(name_server(settings.dns.server))
        self._intake = Intake(
            self._store,
            self._resolver,
            self._clock,
            hostname=settings.operator.hostname,
            sign=_dkim_key(settings),
            verify=settings.dkim.verify,
            queue_lifetime_us=settings.queue.lifetime_hours * 3_600_000_000,
            domains=frozenset(settings.own_domains),
            refuse_dkim=settings.dkim.on_failure == "refuse",
            antivirus=rooms.antivirus(settings),
            notices_every_us=rooms.notices_every_us(settings),
            guard=Guard(self._store, settings.rules.patient_documents),
            watch=Watch(self._store, rooms.mass_limits(settings)),
        )
        self._closing.append(self._intake.watch.close)
        self._reception = Reception(
            self._store,
            accounts,
            self._espace,
            self._intake,
            rooms.charter(settings),
            domains=frozenset(settings.own_domains),
            max_size=settings.smtp.max_size,
            max_size_patient=settings.smtp.max_size_patient,
            postmaster=parse_address(settings.postmaster),
        )
        self._annuaire = upkeep_of(settings, self._store, self._clock)
        await self._annuaire.look()
        self._closing.append(self._annuaire.stop)
        self._courier = self._make_courier()
        self._closing.append(self._stop_courier)
        try:
            await self._open_doors(accounts)
        except OSError as fault:
            raise StartFailure(
                f"listen: {fault.strerror or fault}: change [listen] or stop the other service", 2
            ) from fault
        # Only who holds the ports may send: a second process on the same directory must not take over the leases.
        self._carrying = asyncio.create_task(self._courier.run())
        if relay is not None:
            self._tell_citizens(relay)
        self._announce()
        reading = keep_in_step(self._store, self._reading)
        house = Housekeeping(self._store, self._clock, settings, accounts.visits, self._intake.watch)
        self._closing.append(house.stop)
        upkeep = (self._keep_fresh(), self._upkeep.run(), reading, *house.works(), self._annuaire.run())
        self._tasks = [asyncio.create_task(work) for work in upkeep]
        # What stands now stays for good: a collection that walks it again each time holds the loop for 80 ms.
        gc.collect()
        gc.freeze()
        self._watch.start(asyncio.get_running_loop())

    def _make_courier(self) -> Courier:
        settings = self._settings
        deliveries = Deliveries(
            self._store,
            self._clock,
            hostname=settings.operator.hostname,
            domains=frozenset(settings.own_domains),
            schedule=settings.queue.schedule_s,
            lease_s=settings.queue.lease_s,
        )
        routes = Routes(settings.espace_confiance.routes)
        queue = settings.queue
        return Courier(
            deliveries,
            Routing(routes.lookup, self._resolver),
            self._espace,
            self._contexts.outbound,
            self._clock,
            CourierSettings(
                settings.operator.hostname,
                connections=queue.connections,
                connections_per_destination=queue.connections_per_destination,
                timeouts=Timeouts(
                    connect=queue.connect_timeout_s, command=queue.reply_timeout_s, final=queue.data_timeout_s
                ),
            ),
        )

    def _tell_citizens(self, relay: Relay) -> None:
        every_us = rooms.notices_every_us(self._settings)
        notices = PatientNotices(self._store, self._clock, relay, rooms.wording(self._settings), every_us=every_us)
        telling = asyncio.create_task(notices.run())

        async def stop() -> None:
            notices.stop()
            await telling

        self._closing.append(stop)

    async def _stop_courier(self) -> None:
        if self._carrying is not None:
            await self._courier.stop(DRAIN_SECONDS / 2)
            await self._carrying

    async def _open_doors(self, accounts: Accounts) -> None:
        settings, listen = self._settings, self._settings.listen
        self._smtp = await smtp_in.start(self._reception, rooms.smtp_settings(settings), self._contexts)
        self._closing.append(self._drain_smtp)
        mailboxes = Mailboxes(self._store, self._clock, self._reading)
        self._imap = ImapServer(rooms.imap_settings(settings), accounts, mailboxes, self._contexts.client_server)
        self._closing.append(self._close_imap)
        doors = dict(self._smtp.ports)
        if listen.imap:
            doors["imap"] = await self._imap.listen(listen.host, listen.imap, implicit_tls=False)
        if listen.imaps:
            doors["imaps"] = await self._imap.listen(listen.host, listen.imaps, implicit_tls=True)
        if listen.health:
            await self._open_pages(Pages(health(self._figures(), self._fault)), listen.health)
            doors["health"] = listen.health
        if listen.portal:
            app = Starlette(routes=routes(rooms.mail_services(settings)))
            await self._open_pages(Pages(app, self._contexts.client_server), listen.portal)
            doors["portal"] = listen.portal
        self.doors = " ".join(f"{name}={listen.host}:{port}" for name, port in doors.items())

    async def _open_pages(self, pages: Pages, port: int) -> None:
        server = await pages.listen(self._settings.listen.host, port)
        self._closing.append(lambda: _close_server(server))

    async def stop(self) -> None:
        """The doors first, then what they need, the store last. Whatever `start` reached is stopped."""
        for task in self._tasks:
            task.cancel()
        self._watch.stop()
        for close in reversed(self._closing):
            await close()

    def freshen(self) -> None:
        """SIGHUP: looks at the files now, and at the configuration; asks for a newer white list and CRLs."""
        self._reread = True
        self._refresh.set()

    async def _keep_fresh(self) -> None:
        """Takes changed certificates, revocation lists and white list into force; a faulty file leaves the old in
        force."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FRESH_SECONDS):
                    await self._refresh.wait()
            self._refresh.clear()
            if self._reread:
                self._reread = False
                await self._reread_configuration()
                self._upkeep.hurry()
            try:
                if await asyncio.to_thread(self._contexts.reload):
                    log.info("new certificates or revocation lists in force")
                self._told_once("tls", "")
            except TlsError as fault:
                self._told_once("tls", str(fault))
            if await asyncio.to_thread(self._espace.reload_if_changed):
                log.info("new white list in force", **self._espace.status())
            self._told_once("white list", self._espace.status()["refused"])
            self._announce()

    def _announce(self) -> None:
        """Tells what will stop the exchange of mail: when it begins to show, then once a day."""
        now_us = self._clock.now_us()
        seen = {}
        found = alarms(self._contexts, self._espace, self._crl_ahead_us, now_us)
        for alarm in (*found, *directory_alarms(self._settings, self._annuaire.copy, now_us)):
            key = f"{alarm.subject} {alarm.urgent}"
            told_us = seen[key] = self._announced.get(key, 0)
            if now_us - told_us >= 24 * HOUR_US:
                seen[key] = now_us
                (log.error if alarm.urgent else log.warning)("alarm", subject=alarm.subject, alarm=alarm.text)
        self._announced = seen

    async def _reread_configuration(self) -> None:
        try:
            settings = await asyncio.to_thread(load, self._settings.file)
        except ConfigError as error:
            for line in error.lines():
                log.error("the configuration is not taken", fault=line)
            return
        self._reception.adopt(rooms.charter(settings), settings.smtp.max_size, settings.smtp.max_size_patient)
        try:
            self._intake.sign = await asyncio.to_thread(_dkim_key, settings)
        except StartFailure as fault:
            log.error("the signing key is not taken, the last good one signs", fault=str(fault))
        self._intake.guard.action = settings.rules.patient_documents
        self._intake.watch.limits = rooms.mass_limits(settings)
        self._intake.verify, self._intake.refuse_dkim = settings.dkim.verify, settings.dkim.on_failure == "refuse"
        if self._smtp is not None:
            self._smtp.adopt(rooms.smtp_settings(settings))
        self._espace.life = life_of(settings)
        self._crl_ahead_us = settings.tls.crl_alarm_hours * HOUR_US
        self._upkeep.crl_refresh_s = settings.tls.crl_refresh_s
        if self._revocation is not None:
            self._revocation.urls = settings.tls.crl_urls
        log.info("configuration read again: rules, sizes and ages hold from now on, the rest after a restart")

    def _told_once(self, what: str, fault: str) -> None:
        """A fault that lasts is logged when it begins, not at every look."""
        if fault and self._faults.get(what) != fault:
            log.error("a file is not taken, the last good one stays in force", file=what, fault=fault)
        self._faults[what] = fault

    async def _drain_smtp(self) -> None:
        if self._smtp is not None:
            await self._smtp.drain(DRAIN_SECONDS)

    async def _close_imap(self) -> None:
        if self._imap is not None:
            await self._imap.close(DRAIN_SECONDS / 4)

    def _fault(self) -> str | None:
        """What ``/healthz`` answers with 503."""
        found = alarms(self._contexts, self._espace, self._crl_ahead_us, self._clock.now_us())
        return next((f"{alarm.subject}: {alarm.text}" for alarm in found if alarm.stops), None)

    def _figures(self) -> list[Figure]:
        assert self._smtp is not None
        assert self._imap is not None
        smtp, imap = self._smtp, self._imap
        now_us = self._clock.now_us

        def list_age_s() -> float:
            liste = self._espace.held
            return (now_us() - liste.generated_us) / 1e6 if liste else float("nan")

        def who() -> dict[str, str]:
            return {"hostname": self._settings.operator.hostname, "certificate": self._contexts.certificate.fingerprint}

        return [
            Figure("mssante_operator_info", "Who serves here; always 1.", "gauge", lambda: 1, who),
            Figure(
                "mssante_messages_accepted", "Messages stored and promised.", "counter", lambda: self._intake.accepted
            ),
            *self._antivirus_figures(),
            Figure(
                "mssante_guard_found",
                "Messages with a document of another patient than the recipient, or unreadable.",
                "counter",
                lambda: self._intake.guard.refused,
            ),
            Figure("mssante_smtp_connections", "Open SMTP connections.", "gauge", lambda: smtp.connections),
            Figure("mssante_imap_connections", "Open IMAP connections.", "gauge", lambda: imap.connections),
            Figure("mssante_loop_stalls", "Times the loop was held over 50 ms.", "counter", lambda: self._watch.stalls),
            Figure("mssante_loop_longest_stall_seconds", "Longest hold.", "gauge", lambda: self._watch.longest_s),
            Figure("mssante_loop_starved_seconds", "Waited for a CPU.", "counter", lambda: self._watch.starved_s),
            Figure("mssante_annuaire_fiches", "Lines of the copy.", "gauge", lambda: self._annuaire.copy.fiches),
            Figure("mssante_annuaire_failures", "Readings that failed.", "counter", lambda: self._annuaire.failures),
            Figure(
                "mssante_annuaire_age_seconds",
                "Since the source was last read to its end; NaN before the first time.",
                "gauge",
                lambda: (now_us() - copy.checked_us) / 1e6 if (copy := self._annuaire.copy).checked_us else nan,
            ),
            Figure("mssante_liste_blanche_age_seconds", "Since DateDeGeneration.", "gauge", list_age_s),
            Figure(
                "mssante_liste_blanche_unconfirmed_seconds",
                "Since the white list was last confirmed by its url, or imported.",
                "gauge",
                lambda: self._espace.age_us / 1e6,
            ),
            Figure(
                "mssante_crl_remaining_seconds",
                "Until the first revocation list expires; negative when one is missing or expired.",
                "gauge",
                lambda: remaining_s(self._contexts.crls, now_us()),
            ),
            Figure(
                "mssante_refresh_failures",
                "Fetches of white list or revocation lists that failed.",
                "counter",
                lambda: self._upkeep.failures,
            ),
            Figure(
                "mssante_certificate_remaining_seconds",
                "Until the own certificate expires.",
                "gauge",
                lambda: (self._contexts.certificate.not_after_us - now_us()) / 1e6,
            ),
        ]

    def _antivirus_figures(self) -> list[Figure]:
        antivirus = self._intake.antivirus
        if antivirus is None:
            return []
        return [
            Figure("mssante_antivirus_found", "Messages refused by the scan.", "counter", lambda: antivirus.found),
            Figure("mssante_antivirus_away", "Scans that came to nothing.", "counter", lambda: antivirus.away),
        ]


def _open_store(settings: Settings, clock: Clock) -> Store:
    try:
        return Store.open(
            settings.store.database,
            settings.store.contents,
            read_master_key(settings.store.master_key),
            clock=clock,
            base=settings.directory,
            patient_domains=frozenset(settings.operator.patient_domains),
        )
    except StoreUnavailable as fault:
        raise StartFailure(f"store: {fault}", 3) from fault
    except StoreError as fault:
        raise StartFailure(f"store: {fault}", 2) from fault


def _dkim_key(settings: Settings) -> DkimKey | None:
    if not settings.dkim.sign:
        return None
    try:
        return DkimKey(settings.dkim.selector, load_signing_key(settings.dkim.key.read_bytes()))
    except OSError as fault:
        raise StartFailure(f"{settings.dkim.key}: {fault.strerror}: name the signing key in [dkim] key", 2) from fault
    except ValueError as fault:
        raise StartFailure(f"{settings.dkim.key}: {fault}", 2) from fault


async def _close_server(server: asyncio.Server) -> None:
    server.close()


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; the exit code. Errors before ``ready`` are told in one line on stderr."""
    _log_to_stderr()
    fit_asyncio()
    try:
        asyncio.run(_serve(settings))
    except StartFailure as failure:
        print(f"mssante: {failure}", file=sys.stderr)
        return failure.code
    return 0


def _log_to_stderr() -> None:
    """One JSON object a line: what a service manager's journal or a collector takes as it is."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Locals may hold passwords, INS and pieces of messages: they stay out of every log.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # The descriptor itself: whoever replaces sys.stderr in this process does not close the log under its writers.
        logger_factory=structlog.BytesLoggerFactory(open(2, "wb", closefd=False)),  # noqa: SIM115
        cache_logger_on_first_use=True,
    )


def _json(event: object, **_ignored: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


async def _serve(settings: Settings) -> None:
    operator = Operator(settings, SystemClock())
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, operator.freshen)
    try:
        await operator.start()
        print(f"ready {settings.operator.hostname} {operator.doors}", flush=True)
        await stopping.wait()
    finally:
        await operator.stop()
