"""Who holds leases of the queue: this process, told apart from every other one, living or dead.

What always holds here: two processes never have the same name, on one machine or on several; a process is said to be
gone only where that is known, by a process of the same boot and the same PID namespace. Of all others only the end of
their lease tells. Without /proc (not Linux) nobody is ever said to be gone.
"""

import functools
import os
import secrets
from pathlib import Path

_PROC = Path("/proc")


@functools.cache
def _place() -> str:
    """Where process numbers mean the same: this boot of this machine, or of this container."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return secrets.token_hex(16)


def _started(pid: int) -> str:
    """When the process began, in ticks since boot; "" when it has ended."""
    try:
        # The name before the parenthesis may hold anything; the state is field 3, the start field 22.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def this_process(hostname: str) -> str:
    """The name of this process as a holder of leases."""
    pid = os.getpid()
    return f"{hostname} {_place()} {pid} {_started(pid)}"


def is_gone(owner: str) -> bool:
    """Is it known that the process of this name has ended?"""
    _, _, process = owner.partition(f" {_place()} ")
    pid, _, started = process.partition(" ")
    return pid.isdecimal() and _started(int(pid)) != started
