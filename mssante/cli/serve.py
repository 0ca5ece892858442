"""`mssante serve`: everything that the configuration enables, in the foreground."""

import contextlib
import ctypes
import sys
from typing import Any

import typer

from mssante.cli.frame import settings_of

_M_ARENA_MAX = -8
"""malloc.h of glibc."""


def serve(context: typer.Context) -> None:
    """Serve in the foreground: prints one line "ready ..." when all ports listen.

    SIGTERM drains and exits 0; SIGHUP reloads certificates, CRLs, the white list and the configuration without
    dropping a session.
    """
    settings = settings_of(context)
    _slim()
    from mssante.app import run

    raise typer.Exit(run(settings))


def _slim() -> None:
    """Before the first thread, and before structlog, which would load rich (3 MB) for the colours of a terminal.

    glibc gives each thread an arena of its own, which keeps what large messages once took: 7 MB less with two.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("rich", None)
    with contextlib.suppress(AttributeError):  # another C library has no such call
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
