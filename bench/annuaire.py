#!/usr/bin/env python3
"""The annuaire with the whole country in it: how fast it comes and is searched, and what it takes meanwhile.

.venv/bin/python bench/annuaire.py DIR [--rows 535000] [--postgresql] [import] [sync] [search]

Without words all three are done:
import: an extraction file of 535,000 lines and 89 MB by `mssante annuaire import`, then one with 400 changes;
sync: a real slapd of as many entries, read by ldap3 alone, then by `mssante annuaire sync` to its end, then 400 changes;
search (after one of the others, in what it has read): what people type (frequent, rare, begun, misspelt words), and the
look-ups of a RCPT, in this process.
Prints a line of JSON each. Memory is that of all processes of a command at its highest moment, shared pages counted
once (PSS), ten times a second.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from annuaire.extraction import COLUMNS
from annuaire.ldap3_client import connected, write
from mssante.cli.frame import open_store
from mssante.config import load
from mssante.directory import spec_of
from mssante.domain.address import parse_address
from mssante.services.recherche import nearest, search
from mssante.store import annuaire as copies
from mssante.store.accounts import find_bal
from tests.support import slapd
from tests.support.postgres import running_postgres
from tests.support.practitioners import Practitioner, practitioners

CHANGED = 400
READ_ALONE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import ldap3
url, base, filter_, attributes, size = json.loads(sys.argv[1])
connection = ldap3.Connection(ldap3.Server(url, get_info=ldap3.NONE), check_names=False, auto_bind=True)
pages = connection.extend.standard.paged_search(base, filter_, attributes=attributes, paged_size=size, generator=True)
print(sum(1 for entry in pages))
"""
"""A process that does what ldap3 does, and nothing else."""


def extraction(path: Path, rows: int, changed: int = 0) -> None:
    """As published: half of them have no structure. The first ``changed`` people have another first name."""
    with path.open("w", encoding="utf-8") as file:
        file.write("|".join(COLUMNS) + "\n")
        for number, one in enumerate(practitioners(rows)):
            one = one._replace(prenom="Camille") if number < changed else one
            values = one.row().split("|")
            if number % 10 < 5:
                values[5:7], values[18:] = ["", ""], [""] * 13
            file.write("|".join(values) + "\n")


def memory(pid: int) -> int:
    """KB of a process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        own = next(line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line[:4] == "Pss:")
    except (OSError, StopIteration):
        return 0
    return int(own.split()[1]) + sum(memory(int(child)) for child in children.split())


def measured(command: Sequence[str | Path], **more: object) -> dict[str, Any]:
    """One command to its end: its wall time, CPU of all its processes, its memory."""
    before, began, most = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most = max(most, memory(process.pid))
            time.sleep(0.1)
        assert process.stdout is not None
        assert not process.returncode, process.stdout.read()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return more | {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "memory_mb": round(most / 1024)}


def say(what: str, **figures: object) -> None:
    load_ = round(os.getloadavg()[0], 1)
    print(json.dumps({"what": what, **figures, "load": load_}, ensure_ascii=False), flush=True)


class Operator:
    """An operator in ``folder``/operator."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "operator" / "mssante.toml"
        self.command = [Path(sys.executable).with_name("mssante"), "-c", self.path]

    def init(self, database: str) -> None:
        """A new one, with an empty store."""
        folder = self.path.parent
        shutil.rmtree(folder, ignore_errors=True)
        init = [self.command[0], "init", folder, "--operator", "Essai", "--domain", "essai.test"]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
        if database:
            self.set("store", database=database)
            with open_store(load(self.path), create=True):
                pass

    def set(self, section: str, **values: str) -> None:
        before, _, after = self.path.read_text().partition(f"[{section}]\n")
        for key, value in values.items():
            lines = after.split("\n")
            place = next(i for i, line in enumerate(lines) if line.lstrip("#").startswith(f"{key} = "))
            lines[place] = f"{key} = {json.dumps(value)}"
            after = "\n".join(lines)
        self.path.write_text(f"{before}[{section}]\n{after}")

    def annuaire(self, *words: str | Path) -> list[str | Path]:
        return [*self.command, "annuaire", *words]


def imported(operator: Operator, rows: int) -> None:
    first, second = (operator.path.with_name(name) for name in ("first.txt", "second.txt"))
    extraction(first, rows)
    size = round(first.stat().st_size / 1e6)
    say("extraction", **measured(operator.annuaire("import", first), rows=rows, mb=size))
    extraction(second, rows, changed=CHANGED)
    say("extraction, 400 changed", **measured(operator.annuaire("import", second), rows=rows))


def synced(operator: Operator, rows: int) -> None:
    people = list(practitioners(rows))
    with slapd.directory(_aged(number, one) for number, one in enumerate(people)) as running:
        operator.set("annuaire", source="ldap")
        operator.set("annuaire_ldap", url=running.url)
        spec = spec_of(load(operator.path), "ldap")
        assert spec is not None
        asked = json.dumps([spec.url, spec.base, spec.filter, list(spec.attributes.values()), spec.page_size])
        for what, command in (
            ("ldap3 alone", [sys.executable, "-c", READ_ALONE, asked]),
            ("LDAP, first", operator.annuaire("sync", "--force")),
        ):
            told = measured(command)
            say(what, **told, entries_per_s=round(rows / told["wall_s"]), entries_per_cpu_s=round(rows / told["cpu_s"]))
        root = operator.path.with_name("root.secret")
        root.write_text(slapd.PASSWORD)
        writer = msgspec.structs.replace(spec, bind_dn=slapd.ROOT, password_file=str(root))
        connection = connected(writer, read_only=False)
        change = {"givenName": [("MODIFY_REPLACE", ["Camille"])]}
        for one in people[:CHANGED]:
            write(connection, "modify", f"uid={one.address},{slapd.BASE}", change)
        connection.unbind()
        say("LDAP, 400 changed", **measured(operator.annuaire("sync")))


def _aged(number: int, one: Practitioner) -> str:
    """Its LDIF; written to long ago, each at another time."""
    at = datetime.fromtimestamp(1_500_000_000 + 100 * number, UTC).strftime("%Y%m%d%H%M%SZ")
    return slapd.entry(one, modifyTimestamp=at, createTimestamp=at)


def typed(rows: int) -> dict[str, list[str]]:
    """What people type, kind by kind."""
    chance = random.Random(1)
    people = [one for one in practitioners(rows) if one.rpps]
    some = chance.sample(people, 300)
    return {
        "frequent words": [
            *("MARTIN", "PARIS", "MEDECIN", "médecin paris", "martin paris", "martin médecin paris", "m", "ma", "mar"),
            *("cardiologie", "cabinet", "infirmier", "centre hospitalier", "clinique martin", "75", "jean", "marie"),
            *("zoe petit cardiologie paris", "mart", "medec", "mede paris", "j martin", "p", "pa", "med", "ca ma pa"),
        ],
        "name": [f"{one.nom} {one.prenom}" for one in some],
        "name and place": [f"{one.nom} {one.ville} {one.profession[1]}" for one in some],
        "begun": [f"{one.prenom[:2]} {one.nom[:4]} {one.ville[:3]}" for one in some],
        "misspelt": [_slip(one.nom, chance) + " " + one.prenom for one in some],
        "misspelt frequent": ["MARTTIN", "MRATIN", "MARTIM paris", "medecim", "dubios", "hopsitalier", "infirmiet"],
        "nobody": [_slip(_slip(one.nom, chance), chance) + " zzyzx" for one in some],
        "RPPS": [one.rpps for one in some],
        "establishment": [one.raison_sociale for one in some],
    }


def _slip(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word) - 1)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def searched(operator: Operator, rows: int) -> None:
    with open_store(load(operator.path)) as store:
        people = [one for number, one in enumerate(practitioners(min(rows, 3000))) if one.rpps and number % 3]
        every: list[tuple[float, float]] = []
        for kind, words in typed(rows).items():
            every += _timed(store.read_now, kind, [(search, word) for word in words])
        say("search, all", **_quantiles(every))
        _timed(store.read_now, "RCPT: what is said of an address", [(copies.by_address, one.address) for one in people])
        _timed(store.read_now, "RCPT: own mailbox", [(find_bal, parse_address(one.address)) for one in people])
        wrong = [parse_address(f"{_slip(one.prenom.lower(), random.Random(2))}.x@essai.test") for one in people[:300]]
        _timed(
            store.read_now, "RCPT: nearest to a wrong address", [(nearest, one) for one in wrong if one.local.isascii()]
        )


def _timed(ask: Callable[..., object], what: str, questions: Sequence[tuple[Any, ...]]) -> list[tuple[float, float]]:
    """Each question twice; (wall, CPU) of the second in ms, so that the disk is not measured."""
    for question in questions:
        ask(*question)
    times = []
    for question in questions:
        wall, cpu = time.perf_counter(), time.process_time()
        ask(*question)
        times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    say(what, **_quantiles(times))
    return times


def _quantiles(times: list[tuple[float, float]]) -> dict[str, object]:
    figures: dict[str, object] = {"asked": len(times)}
    for name, ones in zip(("wall", "cpu"), zip(*times, strict=True), strict=True):
        cut = statistics.quantiles(ones, n=100)
        figures |= {f"{name}_p50_ms": round(cut[49], 2), f"{name}_p99_ms": round(cut[98], 2)}
    return figures | {"cpu_most_ms": round(max(cpu for _, cpu in times), 2)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path, metavar="DIR")
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--rows", type=int, default=535_000)
    parser.add_argument("--postgresql", action="store_true", help="in a PostgreSQL of its own")
    asked = parser.parse_intermixed_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(running_postgres()) if asked.postgresql else None
        operator = Operator(asked.work)
        for part in asked.parts or ["sync", "import", "search"]:
            if part != "search":
                operator.init(server.url(server.new_database()) if server else "")
            {"import": imported, "sync": synced, "search": searched}[part](operator, asked.rows)


if __name__ == "__main__":
    main()
