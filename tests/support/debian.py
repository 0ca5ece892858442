"""Debian programs that tests talk to, installed when they are missing and we may.

Always true here: a test that needs a program either gets it or is skipped with the reason; the package database is
touched once a process, under a lock that other processes respect.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

_SBIN = "/usr/sbin:/sbin"


@cache
def require(package: str, command: str) -> str:
    """The path of ``command``, from the Debian package ``package``. Skips the test when it cannot be had."""
    found = _which(command)
    if found is not None:
        return found
    if os.geteuid() != 0 or _which("apt-get") is None:
        pytest.skip(f"{command} is missing and only root on Debian can install {package}")
    with (Path(tempfile.gettempdir()) / "mssante-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _which(command) or _install(package, command)
    if found is None:
        pytest.skip(f"{package} could not be installed")
    return found


def _install(package: str, command: str) -> str | None:
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "check": False}
    install = ["apt-get", "install", "-y", "--no-install-recommends", package]
    if subprocess.run(install, **quiet).returncode:  # type: ignore[call-overload]
        subprocess.run(["apt-get", "update"], **quiet)  # type: ignore[call-overload]
        subprocess.run(install, **quiet)  # type: ignore[call-overload]
    return _which(command)


def _which(command: str) -> str | None:
    return shutil.which(command, path=os.environ.get("PATH", "") + os.pathsep + _SBIN)
