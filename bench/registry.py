#!/usr/bin/env python3
"""The registry of citizens at its full size: fills one with computed matricules, then asks a real `mssante serve` for
them over SMTP. Run by the project's interpreter: .venv/bin/python bench/registry.py DIR [--citizens 5000000]

DIR was made by `mssante init DIR --operator X --domain cabinet.test --patients`; its server is not running. Prints
the rate of the filling, the size of the database, RCPT answers (known and unknown matricules) in ms and the server's
resident memory before and after. Beside them, NOOP in the same sessions and the same rows read by a plain loop over
SQLite: what those two wait for is the machine's doing, not the registry's.
"""

import argparse
import os
import random
import smtplib
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pysqlite3

from mssante.cli.frame import open_store
from mssante.config import Settings, load
from mssante.domain.address import Address
from mssante.domain.bal import BalType
from mssante.domain.ins import ins_key
from mssante.services.bals import open_bals
from mssante.services.passwords import PasswordCost, Passwords
from mssante.services.patients import register
from mssante.store import Store, Tx
from mssante.store.accounts import NewBal, find_bal
from mssante.store.patients import Identity, NewPatient

PASSWORD = "correct horse battery staple"
CHUNK = 20_000
SESSION = 50
"""Transactions without mail in one session; many more, and the server ends it."""


def matricule(number: int) -> str:
    """The nth of some 120 million: sex, year, month, 90 places, rank."""
    number, rank = divmod(number, 999)
    number, place = divmod(number, 90)
    number, month = divmod(number, 12)
    number, year = divmod(number, 100)
    root = f"{number + 1}{year:02d}{month + 1:02d}{place + 1:02d}{75 + place:03d}{rank + 1:03d}"
    return f"{root}{ins_key(root):02d}"


def citizens(store: Store, domain: str, count: int) -> Iterator[list[NewPatient]]:
    """In the order of the index, as a load of a registry does it: each page of it is written once."""
    numbers = sorted(range(count), key=lambda number: store.keys.locator(f"{matricule(number)}@{domain}"))
    for start in range(0, count, CHUNK):
        yield [citizen(matricule(number), domain) for number in numbers[start : start + CHUNK]]


def citizen(ins: str, domain: str) -> NewPatient:
    identity = Identity(
        ins=ins, nom="DURAND", prenoms="Jeanne Marie", naissance="1979-03-05", sexe="F", lieu="75115", notify=None
    )
    return NewPatient(Address(ins.lower(), domain), identity)


def fill(settings: Settings, count: int) -> None:
    domain = settings.operator.patient_domain
    hashed = Passwords(PasswordCost(settings.passwords.memory_kib, settings.passwords.passes)).hash(PASSWORD)
    with open_store(settings) as store:
        if store.read_now(find_bal, f"{matricule(0)}@{domain}") is not None:
            return
        doctor = NewBal(address=f"doctor@{settings.operator.domains[0]}", type=BalType.PER, password_hash=hashed)
        store.write_now(open_bals, [doctor], "bench")
        start, done = time.monotonic(), 0
        for new in citizens(store, domain, count):
            store.write_now(_register, new, durable=False)
            done += len(new)
            print(f"\r{done} citizens, {done / (time.monotonic() - start):.0f}/s", end="", flush=True)
    database = settings.directory / "data" / "mssante.db"
    print(f"\n{os.path.getsize(database) / 1e9:.2f} GB, {os.path.getsize(database) / count:.0f} bytes a citizen")


def _register(tx: Tx, new: list[NewPatient]) -> None:
    register(tx, new, "bench")


def ask(settings: Settings, count: int, questions: int) -> None:
    command = [sys.executable, "-m", "mssante", "-c", str(settings.file), "serve"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        print(server.stdout.readline().strip(), "rss", _rss_mb(server.pid), "MB")
        times: dict[str, list[float]] = {"known": [], "unknown": [], "NOOP": []}
        pick = random.Random(1)
        began = _cpu_s(server.pid)
        for asked in range(0, questions, SESSION):
            if asked % (questions // 4) == 0:
                print(f"after {asked}: rss {_rss_mb(server.pid)} MB")
            with _session(settings) as session:
                for number in range(SESSION):
                    kind = "unknown" if number % 10 == 0 else "known"
                    taken = pick.randrange(count) + (count if kind == "unknown" else 0)
                    times[kind].append(_rcpt_ms(session, settings, matricule(taken), 250 if kind == "known" else 550))
                    times["NOOP"].append(_timed_ms(session.noop))
        times["plain loop"] = _plain_ms(settings, count, questions)
        for kind, all_ms in times.items():
            cuts = statistics.quantiles(all_ms, n=1000)
            print(f"{kind}: {len(all_ms)}, median {statistics.median(all_ms):.3f} ms, 99 % {cuts[989]:.2f}, "
                  f"99.9 % {cuts[998]:.2f}, most {max(all_ms):.2f}")  # fmt: skip
        cpu_ms = (_cpu_s(server.pid) - began) * 1000 / questions
        print(f"after {questions}: rss {_rss_mb(server.pid)} MB, {cpu_ms:.2f} ms CPU for MAIL, RCPT, RSET and NOOP")
    finally:
        server.terminate()
        server.wait()


def _session(settings: Settings) -> smtplib.SMTP_SSL:
    context = ssl.create_default_context(cafile=settings.tls.roots)
    context.check_hostname = False
    session = smtplib.SMTP_SSL(settings.listen.host, settings.listen.submissions, context=context)
    session.login(f"doctor@{settings.operator.domains[0]}", PASSWORD)
    return session


def _rcpt_ms(session: smtplib.SMTP_SSL, settings: Settings, ins: str, expected: int) -> float:
    session.mail(f"doctor@{settings.operator.domains[0]}")
    start = time.perf_counter()
    code, text = session.rcpt(f"{ins}@{settings.operator.patient_domain}")
    taken = (time.perf_counter() - start) * 1000
    assert code == expected, text
    session.rset()
    return taken


def _plain_ms(settings: Settings, count: int, questions: int) -> list[float]:
    """As many known citizens' rows, read one by one without a server, a thread or a key."""
    domain, pick = settings.operator.patient_domain, random.Random(2)
    with open_store(settings) as store:
        locators = [store.keys.locator(f"{matricule(pick.randrange(count))}@{domain}") for _ in range(questions)]
    conn = pysqlite3.connect(settings.directory / "data" / "mssante.db", isolation_level=None)
    query = "SELECT * FROM bal WHERE locator = ?"
    return [_timed_ms(lambda: conn.execute(query, (locator,)).fetchall()) for locator in locators]


def _timed_ms(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--citizens", type=int, default=5_000_000)
    parser.add_argument("--questions", type=int, default=20_000)
    given = parser.parse_args()
    settings = load(given.directory / "mssante.toml")
    fill(settings, given.citizens)
    ask(settings, given.citizens, given.questions)


if __name__ == "__main__":
    main()
