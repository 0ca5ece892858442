"""Real operators for tests: made by `mssante init`, served by `mssante serve`, driven by `mssante` commands.

What must always hold:
- Every process started here is ended by whoever made the network (`Network.close`), by its own pid, whatever happens.
- Waiting is for something seen (the line ``ready``, an exit, an answer) and has a deadline; `until` is the only place
  that looks again after a moment.
- A network is a copy of a template of the same session: keys are made once. Copies share keys, names and passwords,
  never ports, stores or processes.

Commands run in the tests' process through the entry of the command line (`mssante.cli.main`), which is another process
than the server's and costs no start of an interpreter; `Operator.process` runs the program itself.
"""

import io
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from mssante.cli import main

HOST = "127.0.0.1"
READY_S = 120.0
STOP_S = 120.0
SERVICES = ("mx", "submission", "submissions", "imap", "imaps", "portal", "health")
DOMAINS = {
    "cabinet": "cabinet.mssante.example",
    "clinique": "clinique.mssante.example",
    "citoyens": "patient.mssante.fr",
}
"""The operators of a network: two of professionals, and the citizens' host."""

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, seconds: float = 120.0) -> T:
    """The first true value of ``condition``. Fails with ``what`` when there is none in time."""
    end = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < end, f"not seen in {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return seen


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Operator:
    """One operator in ``directory``, and its process while it serves. ``port``: its first one."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Its name within the network."""
        return self.directory.name

    @property
    def domain(self) -> str:
        """The domain that it hosts."""
        return DOMAINS[self.name]

    @property
    def config(self) -> Path:
        """Its mssante.toml."""
        return self.directory / "mssante.toml"

    @property
    def log(self) -> Path:
        """What its processes said on stderr, one after the other."""
        return self.directory / "serve.log"

    def port_of(self, service: str) -> int:
        """The port of mx, submission, submissions, imap, imaps or health."""
        return self.port + SERVICES.index(service)

    def set(self, section: str, **settings: object) -> None:
        """Change settings of the configuration file; numbers and text."""
        text = self.config.read_text()
        for key, value in settings.items():
            line = f"{key} = {json.dumps(value)}"
            found = re.compile(rf"(\[{section}\]\n(?:(?!\[)[^\n]*\n)*?)#?{key} = [^\n]*\n")
            text, changed = found.subn(lambda match, line=line: f"{match[1]}{line}\n", text)  # type: ignore[misc]
            assert changed == 1, f"[{section}] {key} is not in {self.config}"
        self.config.write_text(text)

    # --- commands

    def command(self, *arguments: str, given: str = "") -> Done:
        """How ``mssante -c <config> arguments...`` ends, with ``given`` on its stdin."""
        return command("-c", str(self.config), *arguments, given=given)

    def run(self, *arguments: str, given: str = "") -> str:
        """What a command that must succeed prints."""
        done = self.command(*arguments, given=given)
        assert done.code == 0, f"{self.name}: mssante {' '.join(arguments)}: exit {done.code}: {done.err}"
        return done.out

    def json(self, *arguments: str) -> Any:
        """The value that a command prints with --json."""
        return json.loads(self.run(*arguments, "--json"))

    def process(self, *arguments: str, given: str = "") -> Done:
        """How the program itself ends, as a process of its own; for one that must end by itself."""
        return program("-c", str(self.config), *arguments, given=given)

    # --- its life

    @property
    def pid(self) -> int:
        """Of the serving process."""
        assert self._process is not None
        return self._process.pid

    @property
    def serves(self) -> bool:
        """Was it started, and not ended yet?"""
        return self._process is not None

    def start(self) -> None:
        """Begin to serve; `ready` says when it does."""
        assert self._process is None, f"{self.name} serves already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_PROGRAM, "-c", str(self.config), "serve"], stdout=subprocess.PIPE, stderr=log, env=_environment()
            )

    def ready(self) -> str:
        """Its line ``ready ...``, waited for."""
        assert self._process is not None
        assert self._process.stdout is not None
        output, line = self._process.stdout.fileno(), b""
        end = time.monotonic() + READY_S
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([output], [], [], max(0.0, end - time.monotonic()))
            assert readable, f"{self.name} was not ready in {READY_S:.0f} s:\n{self.last_words()}"
            octets = os.read(output, 4096)
            assert octets, f"{self.name} ended before it was ready:\n{self.last_words()}"
            line += octets
        assert line.startswith(b"ready "), line
        return line.decode()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """Its exit code, waited for; -9 after kill -9."""
        assert self._process is not None
        process = self._process
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not end in {STOP_S:.0f} s:\n{self.last_words()}") from None
        finally:
            self._process = None
            assert process.stdout is not None
            process.stdout.close()
        return code

    def stop(self) -> int:
        """SIGTERM, and the exit code once it has drained."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL

    def close(self) -> None:
        """Whatever it is doing, it is not there any more."""
        if self._process is not None:
            self._process.kill()
            self.ended()

    # --- what can be seen of it

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def troubles(self) -> list[str]:
        """The lines of its log that no well operator writes: errors, and what is not one JSON object (a traceback)."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                level = json.loads(line)["level"]
            except (ValueError, KeyError, TypeError):
                level = "none"
            if level not in ("debug", "info", "warning"):
                found.append(line)
        return found

    def status_kib(self, field: str) -> int:
        """A field of /proc/PID/status, in KiB, such as VmHWM."""
        found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def figures(self) -> dict[str, float]:
        """The metrics of the health port by name."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port_of('health')}/metrics", timeout=READY_S) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.partition(" ") for line in lines) if name != "#"}

    # --- what its people and its peers need

    def trust(self) -> ssl.SSLContext:
        """What a mail program of its users believes. The tests speak to 127.0.0.1, so names are not compared."""
        context = ssl.create_default_context(cafile=self.directory / "pki" / "ca.pem")
        context.check_hostname = False
        return context

    def peer_context(self, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
        """What this operator shows to another one's MX: its own certificate, or a given one."""
        pki = self.directory / "pki"
        context = self.trust()
        context.load_cert_chain(certificate or pki / "operator.pem", key or pki / "operator.key")
        return context


@dataclass(frozen=True, slots=True)
class Network:
    """Two operators of professionals and the citizens' host, in one development trust space."""

    directory: Path
    cabinet: Operator
    clinique: Operator
    citoyens: Operator

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The three of them."""
        return self.cabinet, self.clinique, self.citoyens

    def serve(self, *operators: Operator) -> None:
        """Start these, or all, side by side, and wait until they are ready."""
        for operator in operators or self.operators:
            operator.start()
        for operator in operators or self.operators:
            operator.ready()

    def close(self) -> None:
        """End whatever still serves."""
        for operator in self.operators:
            operator.close()


def make_template(directory: Path, *, dns: str) -> Path:
    """Three operators as `mssante init` makes them, asking the name server ``dns``; for `copy_of`."""
    directory.mkdir()
    first = directory / "cabinet"
    said_of = {
        "cabinet": ("--operator", "Cabinet du Port", "--domain", DOMAINS["cabinet"]),
        "clinique": ("--operator", "Clinique des Dunes", "--domain", DOMAINS["clinique"], "--join", str(first)),
        "citoyens": ("--operator", "Messagerie citoyenne", "--patients", "--join", str(first)),
    }
    for place, (name, said) in enumerate(said_of.items()):
        base = str(2500 + place * len(SERVICES))  # each copy gets its own
        done = command("init", str(directory / name), *said, "--port-base", base, "--dns", dns)
        assert done.code == 0, done.err
    return directory


def copy_of(template: Path, directory: Path) -> Network:
    """The same three operators once more, on ports of their own."""
    shutil.copytree(template, directory, symlinks=True)
    routes = directory / "cabinet" / "espace" / "routes.toml"
    operators = {}
    base = free_ports(len(SERVICES) * len(DOMAINS))
    for place, (name, domain) in enumerate(DOMAINS.items()):
        operator = operators[name] = Operator(directory / name, base + place * len(SERVICES))
        operator.set("listen", **{each: operator.port_of(each) for each in SERVICES})
        routes.write_text(
            re.sub(rf'"{re.escape(domain)}" = "[^"]*"', f'"{domain}" = "{HOST}:{operator.port}"', routes.read_text())
        )
    return Network(directory, **operators)


def command(*arguments: str, given: str = "") -> Done:
    """How the command line ends, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "stdin", io.StringIO(given)), _plain_environment():
        with redirect_stdout(out), redirect_stderr(err):
            code = main(list(arguments))
    return Done(code, out.getvalue(), err.getvalue())


def program(*arguments: str, given: str = "") -> Done:
    """How `mssante` ends, as a process of its own."""
    done = subprocess.run(
        [*_PROGRAM, *arguments], input=given, capture_output=True, text=True, env=_environment(), timeout=READY_S
    )
    return Done(done.returncode, done.stdout, done.stderr)


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that nobody has now. Below those that the system gives to clients, and
    drawn without pytest-randomly's seed, so that two runs side by side seldom meet."""
    while True:
        base = random.SystemRandom().randrange(10_000, 32_000)
        if all(map(_free, range(base, base + count))):
            return base


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


_PROGRAM: Sequence[str] = (sys.executable, "-P", "-m", "mssante")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MSSANTE_")}


@contextmanager
def _plain_environment() -> Iterator[None]:
    with patch.dict(os.environ, _environment(), clear=True):
        yield
