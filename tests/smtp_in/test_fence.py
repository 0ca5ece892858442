"""What `smtp_in.server` takes from aiosmtpd and asyncio without their promise: a release that changes it fails here."""

from __future__ import annotations

import asyncio.sslproto
import inspect
from pathlib import Path

from aiosmtpd.smtp import SMTP

import smtp_in
from smtp_in.server import Connection


async def test_names_of_aiosmtpd_that_are_overridden_or_read() -> None:
    calls = ("connection_made", "connection_lost", "eof_received")
    for name in ("_handle_client", "_reset_timeout", "_timeout_cb", *calls):
        assert inspect.isfunction(vars(SMTP)[name]), name
    made = SMTP(None, loop=asyncio.get_running_loop(), hostname="mx.cabinet.test")
    assert made._timeout_handle is None
    assert made._handler_coroutine is None
    assert made._smtp_methods["NOOP"] == made.smtp_NOOP


def test_every_command_of_aiosmtpd_is_replaced() -> None:
    """None of its answers, without enhanced codes and with Python's words, can be met."""
    theirs = {name for name in vars(SMTP) if name.startswith("smtp_")}
    ours = {name for name in vars(Connection) if name.startswith("smtp_")}
    assert theirs <= ours


def test_tls_transport_bounds_what_it_reads_ahead() -> None:
    assert inspect.isfunction(asyncio.sslproto._SSLProtocolTransport.set_read_buffer_limits)


def test_aiosmtpd_is_known_in_one_file() -> None:
    room = Path(smtp_in.__path__[0])
    assert [path.name for path in room.glob("*.py") if "import aiosmtpd" in path.read_text()] == []
    assert [path.name for path in room.glob("*.py") if "from aiosmtpd" in path.read_text()] == ["server.py"]
