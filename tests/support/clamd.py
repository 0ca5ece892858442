"""A real clamd with one signature of its own, for tests that need a scanner.

Always true here: it reads no database but the one written below, and listens in its own folder and on loopback only.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.debian import require

# Of the test file that scanners agree to find (EICAR). In two halves: a scanner that reads these sources finds nothing.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
NAME = "Eicar-Essai.UNOFFICIAL"
LARGEST = 32 * 1024 * 1024


@dataclass(frozen=True)
class Clamd:
    """Where it listens, as the setting says it."""

    unix: str
    tcp: str


@contextmanager
def running(port: int) -> Iterator[Clamd]:
    """A clamd on a unix socket and on that port of loopback, ready to be asked."""
    program = require("clamav-daemon", "clamd")
    with tempfile.TemporaryDirectory(prefix="clamd") as place:
        folder = Path(place)
        (folder / "db").mkdir()
        (folder / "db" / "essai.ndb").write_text(f"{NAME.partition('.')[0]}:0:*:{EICAR.hex()}\n")
        lines = [
            f"LocalSocket {folder / 'socket'}",
            f"TCPSocket {port}",
            "TCPAddr 127.0.0.1",
            f"DatabaseDirectory {folder / 'db'}",
            f"TemporaryDirectory {folder}",
            "Foreground yes",
            f"StreamMaxLength {LARGEST}",
            f"MaxFileSize {LARGEST}",
            f"MaxScanSize {4 * LARGEST}",
            *(["User root"] if os.geteuid() == 0 else []),
        ]
        configuration = folder / "clamd.conf"
        configuration.write_text("".join(f"{line}\n" for line in lines))
        with subprocess.Popen(
            [program, "-c", str(configuration)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as clamd:
            try:
                assert clamd.stdout is not None
                said = ""
                while "Self checking" not in said:
                    line = clamd.stdout.readline()
                    assert line, f"clamd does not start: {said}"
                    said += line
                yield Clamd(str(folder / "socket"), f"127.0.0.1:{port}")
            finally:
                clamd.terminate()
                clamd.wait(30)
