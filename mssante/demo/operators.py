"""The operators of the story: made by `mssante init`, served by `mssante serve`, spoken to by ports on loopback.

What must always hold: every process started here is stopped here, whatever happens; waiting is for something seen (a
line, an exit) and has an end.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

HOST = "127.0.0.1"
READY_S = 60
STOP_S = 20


class DemoFailure(Exception):
    """The story went otherwise than it must; the message says where, and what was said instead."""


@dataclass(slots=True)
class Operator:
    """One operator: its directory, its first port, and its process while it serves."""

    directory: Path
    port: int
    process: subprocess.Popen[str] | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    ready_line: str = ""

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def log(self) -> Path:
        return self.directory / "serve.log"

    def run(self, *arguments: str, given: str = "", wanted: int = 0) -> str:
        """The output of `mssante -c <its configuration> arguments...`, with `given` on stdin."""
        return mssante("-c", str(self.directory / "mssante.toml"), *arguments, given=given, wanted=wanted)

    def serve(self) -> None:
        """Start serving; `wait` says when it is ready."""
        command = [*_COMMAND, "-c", str(self.directory / "mssante.toml"), "serve"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
        assert self.process.stdout is not None
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def wait(self) -> str:
        """The line "ready ..."."""
        if not self.ready.wait(READY_S) or not self.ready_line:
            raise DemoFailure(f"{self.name} did not get ready in {READY_S} s; its log ends with:\n{self.last_words()}")
        return self.ready_line

    def stop(self) -> int:
        """SIGTERM; the exit code, once it has drained."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise DemoFailure(
                f"{self.name} did not stop in {STOP_S} s; its log ends with:\n{self.last_words()}"
            ) from None

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else "(no log)"
        )

    def _listen(self, output: IO[str]) -> None:
        with output:
            for line in output:
                if line.startswith("ready"):
                    self.ready_line = line.strip()
                    self.ready.set()
        self.ready.set()  # it ended: nobody needs to wait any longer


_COMMAND = [sys.executable, "-P", "-m", "mssante"]


def mssante(*arguments: str, given: str = "", wanted: int = 0) -> str:
    """The output of one command. Raises DemoFailure when it ends otherwise than with the exit code `wanted`."""
    done = subprocess.run(
        [*_COMMAND, *arguments], input=given, capture_output=True, text=True, env=_environment(), timeout=60
    )
    if done.returncode != wanted:
        raise DemoFailure(f"mssante {' '.join(arguments)}: exit {done.returncode}, not {wanted}: {done.stderr.strip()}")
    return done.stdout


def free_ports(operators: int) -> list[int]:
    """The first ports of that many operators, each followed by six that are free now too."""
    found: list[int] = []
    for base in range(25_000, 32_000, 10):
        if all(_free(port) for port in range(base, base + 7)):
            found.append(base)
            if len(found) == operators:
                return found
    raise DemoFailure(f"no {operators} times seven free ports between 25000 and 32000 on {HOST}")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MSSANTE_")}
