"""`mssante doctor`: is this operator well? One line a check.

What must always hold: it changes nothing and never stops at the first fault; exit 0 only when there is none.
"""

import asyncio
import re
import socket
import stat
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import typer

from mssante.cli.dns_records import dns_records
from mssante.cli.frame import REFUSED, Failure, Json, iso, listing, open_store, settings_of
from mssante.domain.clock import DAY_US, HOUR_US

if TYPE_CHECKING:
    from pathlib import Path

    from espace_confiance.alarms import Alarm
    from mssante.config import Settings

OK, WARN, FAULT = "ok", "warn", "fault"


class Finding(NamedTuple):
    """What one look found: ok, warn (will become a fault) or fault; and what to do about it."""

    verdict: str
    check: str
    finding: str


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check configuration, certificates, clock, ports, store and white list; exit 0 when all is well."""
    settings = settings_of(context)
    findings = [Finding(OK, "configuration", str(settings.file)), *_examine(settings)]
    listing([finding._asdict() for finding in findings], as_json)
    if any(finding.verdict == FAULT for finding in findings):
        raise typer.Exit(REFUSED)


def _examine(settings: "Settings") -> Iterator[Finding]:
    from mssante.domain.clock import SystemClock

    now_us = SystemClock().now_us()
    yield from _packages()
    yield from _keys(settings)
    yield from _certificate(settings, now_us)
    yield from _liste_blanche(settings, now_us)
    yield from (Finding(OK, "dns", f"to be published: {record}") for record in dns_records(settings))
    yield from _dkim(settings)
    yield from _antivirus(settings)
    yield from _store(settings, now_us)
    yield from _ports(settings)


def _packages() -> Iterator[Finding]:
    """An installer puts another distribution's package over ours of the same name without a word."""
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    for name in ("mssante", "tls", "espace_confiance", "annuaire", "smtp_in", "smtp_out", "imap", "portail"):
        others = set(owners.get(name, ["mssante"])) - {"mssante"}
        if others:
            yield Finding(FAULT, "packages", f"{name} is also installed by {', '.join(sorted(others))}: remove it")


def _keys(settings: "Settings") -> Iterator[Finding]:
    """Who has the master key has every mailbox. A key that is missing has the line of what it is for."""
    keys = (settings.store.master_key, settings.tls.key, settings.dkim.key, *settings.dkim.other_keys)
    exposed = [path for path in keys if _open_to_all(path)]
    for path in exposed:
        yield Finding(FAULT, "keys", f"{path} is open to every account of this machine: chmod 600 {path}")
    if not exposed:
        yield Finding(OK, "keys", "no other account of this machine can read one")


def _open_to_all(path: "Path") -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IRWXO)
    except OSError:
        return False


def _certificate(settings: "Settings", now_us: int) -> Iterator[Finding]:
    from espace_confiance.alarms import certificate_alarms, crl_alarms
    from mssante.trust import contexts_of
    from tls.certificates import TlsError

    try:
        contexts = contexts_of(settings)
    except TlsError as error:
        yield Finding(FAULT, "certificate", f"{error}: name usable files in [tls]")
        yield from _unreadable_crl(settings, str(error))
        return
    facts = contexts.certificate
    days = facts.days_left(now_us)
    if days >= 0:
        yield Finding(OK, "certificate", f"{facts.dn}: {days} days left, until {iso(facts.not_after_us)}")
    yield from map(_told, certificate_alarms(facts, now_us))
    if not contexts.crls:
        yield Finding(WARN, "revocation", "is not checked: name the lists in [tls] crl")
    for crl in contexts.crls:
        if crl.current(now_us):
            yield Finding(
                OK, "revocation", f"{crl.issuer}: {crl.revoked} revoked, valid until {iso(crl.next_update_us or None)}"
            )
    ahead_us = settings.tls.crl_alarm_hours * HOUR_US
    yield from map(_told, crl_alarms(contexts.crls, required=contexts.crl_required, ahead_us=ahead_us, now_us=now_us))
    if facts.not_before_us > now_us:
        yield Finding(FAULT, "clock", f"{iso(now_us)} is before the certificate's start: set the clock")
    if facts.dn.o.casefold() != settings.operator.name[:40].casefold():
        yield Finding(WARN, "certificate", f"its O {facts.dn.o!r} is not [operator] name {settings.operator.name!r}")
    if facts.dn.cn.lower() != settings.operator.hostname:
        yield Finding(
            WARN, "certificate", f"its CN {facts.dn.cn} is not [operator] hostname {settings.operator.hostname}"
        )


def _unreadable_crl(settings: "Settings", told: str) -> Iterator[Finding]:
    """The contexts stop at their first faulty file; this one has a line of its own."""
    from tls.certificates import TlsError, load_crls

    try:
        if settings.tls.crl is not None:
            load_crls(settings.tls.crl)
    except TlsError as error:
        if str(error) != told:
            yield Finding(FAULT, "revocation", f"{error}: name a usable file in [tls] crl")


def _told(alarm: "Alarm") -> Finding:
    return Finding(FAULT if alarm.stops else WARN, alarm.subject, alarm.text)


def _liste_blanche(settings: "Settings", now_us: int) -> Iterator[Finding]:
    from espace_confiance.alarms import liste_alarms
    from espace_confiance.routes import Routes, RoutesError
    from mssante.domain.clock import SystemClock
    from mssante.trust import espace_of
    from tls.certificates import TlsError, describe, load_certificates

    espace = espace_of(settings, SystemClock())
    yield from map(_told, liste_alarms(espace))
    liste = espace.held
    if liste is None:
        return
    if espace.fault:
        yield Finding(WARN, "white list", f"{espace.fault}; the list at hand stays")
    age = (now_us - liste.generated_us) // DAY_US
    if liste.generated_us > now_us + 3_600_000_000:
        yield Finding(
            FAULT, "clock", f"{iso(now_us)} is before the white list's date {iso(liste.generated_us)}: set it"
        )
    entries = f"{len(liste.entries)} entries, {len(liste.domains)} domains, of {iso(liste.generated_us)}"
    yield Finding(OK, "white list", f"{entries}, {age} days old, confirmed on {iso(espace.confirmed_us or None)}")
    try:
        own = describe(load_certificates(settings.tls.certificate)[0]).dn
        absent = [domain for domain in settings.own_domains if not liste.accepts(domain, own)]
    except (TlsError, ValueError):
        absent = []  # the certificate has its own line
    if absent:
        yield Finding(WARN, "white list", f"our certificate is not listed for {', '.join(absent)}: others refuse us")
    try:
        Routes(settings.espace_confiance.routes)
    except RoutesError as error:
        yield Finding(FAULT, "routes", str(error))


def _dkim(settings: "Settings") -> Iterator[Finding]:
    from mssante.mime.dkim import key_record, load_signing_key, publishes

    if not settings.dkim.sign:
        yield Finding(WARN, "dkim", "messages leave unsigned: [dkim] sign")
        return
    dkim = settings.dkim
    keys = [(dkim.selector, dkim.key), *((path.stem, path) for path in dkim.other_keys)]
    for selector, path in keys:
        try:
            key = load_signing_key(path.read_bytes())
        except (OSError, ValueError) as error:
            yield Finding(FAULT, "dkim", f"{path}: {error}")
            continue
        names = [f"{selector}._domainkey.{domain}" for domain in settings.own_domains]
        records = asyncio.run(_txt_records(names, settings.dns.server))
        missing = {name: record for name, record in records.items() if isinstance(record, str)}
        wrong = [name for name, record in records.items() if isinstance(record, bytes) and not publishes(record, key)]
        for name in (*missing, *wrong):
            reason = missing.get(name, "another key is published")
            yield Finding(WARN, "dkim", f"{reason}; to be published: {name} TXT {key_record(key)}")
        if not missing and not wrong:
            use = "signs" if path == dkim.key else "does not sign"
            yield Finding(OK, "dkim", f"{selector} {use}, and is published for {', '.join(settings.own_domains)}")


async def _txt_records(names: list[str], server: str) -> dict[str, bytes | str]:
    """The TXT record of each name, or why there is none."""
    from mssante.services.resolver import DnsBroken, DnsError, Resolver, name_server

    resolver = Resolver(name_server(server), timeout=3)

    async def record(name: str) -> bytes | str:
        try:
            return b"".join(await resolver.txt(name))
        except DnsBroken:
            return "the DNS does not answer"
        except DnsError:
            return "not in the DNS"

    return dict(zip(names, await asyncio.gather(*map(record, names)), strict=True))


def _antivirus(settings: "Settings") -> Iterator[Finding]:
    from mssante.services.antivirus import ping

    socket = settings.antivirus.socket
    if not socket:
        return
    try:
        version = asyncio.run(ping(socket))
    except (OSError, EOFError) as error:
        yield Finding(FAULT, "antivirus", f"{socket} does not answer ({error}): start clamd or correct [antivirus]")
        return
    yield Finding(OK, "antivirus", f"{socket}: {version}")


def _store(settings: "Settings", now_us: int) -> Iterator[Finding]:
    from mssante.directory import directory_alarms, source_of
    from mssante.store import annuaire
    from mssante.store.accounts import delegations, find_bal
    from mssante.store.queue import counts

    try:
        with open_store(settings) as store:
            waiting, copy = store.read_now(counts), store.read_now(annuaire.copy)
            postmaster = store.read_now(find_bal, settings.postmaster)
            readers = store.read_now(delegations, postmaster.id) if postmaster is not None else []
    except Failure as failure:
        yield Finding(FAULT, "store", "; ".join(failure.lines))
        return
    queue = ", ".join(f"{number} {state}" for state, number in sorted(waiting.items())) or "empty"
    yield Finding(OK, "store", f"opens; queue: {queue}")
    stale = directory_alarms(settings, copy, now_us)
    if copy.generation and not stale:
        age_hours = (now_us - copy.checked_us) // 3_600_000_000
        yield Finding(OK, "annuaire", f"{copy.addresses} addresses from {copy.source}, read {age_hours} hours ago")
    yield from map(_told, stale)
    where = source_of(settings)
    if where is not None and not _listens(*where):
        yield Finding(WARN, "annuaire", f"{where[0]}:{where[1]} does not answer: the last good copy serves on")
    if postmaster is None and settings.operator.postmaster:
        yield Finding(FAULT, "postmaster", f"{settings.postmaster} is no mailbox: open it, or correct [operator]")
    elif postmaster is not None and postmaster.password_hash is None and not readers:
        wanted = f"{postmaster.address} has mail that nobody can read"
        yield Finding(WARN, "postmaster", f"{wanted}: mssante bal delegate {postmaster.address} --to .. --right read")


def _ports(settings: "Settings") -> Iterator[Finding]:
    from mssante.settings import SERVICES

    listen = settings.listen
    metrics = _metrics(listen.host, listen.health)
    other = _another(settings, metrics)
    if other:
        metrics = {}
    taken_by = f"the operator {other}, not by this one" if other else "another program, or not permitted"
    wanted = "listens" if metrics else "is free"
    look: Callable[[str, int], bool] = _listens if metrics else _free
    for service in SERVICES:
        port: int = getattr(listen, service)
        where = f"{service} {listen.host}:{port}"
        if port and look(listen.host, port):
            yield Finding(OK, "port", f"{where} {wanted}")
        elif port and metrics:
            yield Finding(FAULT, "port", f"{where} does not answer though the service runs: restart it")
        elif port and not listen.health:
            yield Finding(WARN, "port", f"{where} is taken, perhaps by this service: [listen] health would tell")
        elif port:
            yield Finding(FAULT, "port", f"{where} is taken by {taken_by}: stop that one, or change [listen]")
    if not metrics:
        return
    stall = float(metrics.get("mssante_loop_longest_stall_seconds", 0))
    verdict = WARN if stall > 0.05 else OK
    yield Finding(verdict, "loop", f"held for {stall * 1000:.0f} ms at most since the start (50 are too many)")


def _another(settings: "Settings", metrics: dict[str, str]) -> str:
    """The host name of the service that gave these figures, when it is not ours; "" when it is, or none did.

    Two operators may have one name: a test one and a real one, two trials in two directories. Two certificates never.
    """
    from tls.certificates import TlsError, describe, load_certificates

    if not metrics:
        return ""
    told = next((name for name in metrics if name.startswith("mssante_operator_info{")), "")
    who = dict(re.findall(r'(\w+)="([^"]*)"', told))
    try:
        own = who.get("certificate") == describe(load_certificates(settings.tls.certificate)[0]).fingerprint
    except (TlsError, ValueError):
        own = who.get("hostname") == settings.operator.hostname  # the certificate has its own line
    return "" if own else who.get("hostname", "of another version")


def _free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((_reachable(host).strip("[]"), port), timeout=3).close()
    except OSError:
        return False
    return True


def _metrics(host: str, port: int) -> dict[str, str]:
    """The figures of the running service by name; none when it does not run."""
    try:
        # Not through the proxy that the environment may name: this is our own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{_reachable(host)}:{port}/metrics", timeout=3) as answer:
            lines = answer.read(1_000_000).decode().splitlines()
    except (OSError, ValueError):
        return {}
    return {name: value for name, _, value in (line.partition(" ") for line in lines) if name.startswith("mssante_")}


def _reachable(host: str) -> str:
    """Where a service that listens on `host` is found from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, f"[{host}]" if ":" in host else host)
