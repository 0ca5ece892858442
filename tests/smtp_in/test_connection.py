"""What a dialogue on paper cannot show: broken connections, time, limits, faults behind the door."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from typing import Any

import pytest
from structlog.testing import capture_logs

from mssante.domain.verdict import Defer, Refuse, Rule
from smtp_in.server import Connection
from tests.smtp_in.client import Client
from tests.smtp_in.conftest import Serve
from tests.smtp_in.doors import SENDER, Doors, Pki
from tests.smtp_in.reception import MemoryReception

ENVELOPE = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<a@cabinet.mssante.test>\r\nDATA\r\n".encode()


async def begin(client: Client) -> None:
    """As far as 354."""
    await client.send(ENVELOPE)
    assert [(await client.line())[:3] for _ in range(3)] == ["250", "250", "354"]


def only(doors: Doors) -> Connection:
    (connection,) = doors.listeners._connections
    return connection


async def ended(doors: Doors) -> None:
    """Until the server has let go of every connection."""
    if doors.listeners._connections:
        await asyncio.wait([connection.task for connection in doors.listeners._connections])
    assert doors.listeners.connections == 0


# --- promises and broken connections --------------------------------------------------------------


async def test_250_only_after_the_commit(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).mx()
    reception.holding = asyncio.Event()
    await begin(client)
    await client.send(b"corps\r\n.\r\n")
    await reception.finishing.wait()
    answer = asyncio.create_task(client.line())
    await asyncio.wait([answer], timeout=0.01)
    assert not answer.done()
    reception.holding.set()
    assert (await answer).startswith("250 2.0.0 Message accepte: ")
    assert len(reception.stored) == 1


async def test_half_close_while_storing_still_gets_its_answer(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).mx()
    reception.holding = asyncio.Event()
    await begin(client)
    await client.send(b"corps\r\n.\r\n")
    await reception.finishing.wait()
    client.half_close()
    reception.holding.set()
    assert (await client.line()).startswith("250 2.0.0")
    assert len(reception.stored) == 1


async def test_half_close_behind_the_dot_still_gets_its_answer(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).mx()
    await begin(client)
    client.write_and_half_close(b"corps\r\n.\r\n")
    assert (await client.line()).startswith("250 2.0.0")
    assert len(reception.stored) == 1


@pytest.mark.parametrize("door", ["mx", "submission"])
async def test_half_close_in_clear_is_answered(door: str, serve: Serve) -> None:
    client = await (await serve()).connect(door)
    client.write_and_half_close(b"EHLO poste.cabinet.test\r\nNOOP\r\n")
    assert [(await client.reply())[-1][:3] for _ in range(3)] == ["220", "250", "250"]
    assert await client.rest() == b""


async def test_reset_while_storing_cancels_nothing(serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()
    client = await doors.mx()
    reception.holding = asyncio.Event()
    await begin(client)
    await client.send(b"corps\r\n.\r\n")
    await reception.finishing.wait()
    client.reset()
    reception.holding.set()
    await ended(doors)
    assert len(reception.stored) == 1
    assert reception.aborted == 0


@pytest.mark.parametrize("said", [b"", b"Subject: x\r\n\r\ncor", b"corps\r\n.", b"corps\r\n.\r"])
async def test_reset_before_the_end_stores_nothing(said: bytes, serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()
    client = await doors.mx()
    await begin(client)
    await client.send(said)
    client.reset()
    await ended(doors)
    assert reception.stored == []
    assert reception.aborted == 1


# --- certificates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("certificate", [None, "expired", "revoked", "signer", "stranger"])
async def test_wrong_certificate_never_reaches_mail(
    certificate: str | None, serve: Serve, pki: Pki, reception: MemoryReception, strangers: Pki
) -> None:
    doors = await serve()
    client = await doors.connect("mx")
    await client.reply()
    await client.ask("EHLO mx.clinique.mssante.test")
    await client.ask("STARTTLS")
    context = pki.client(None if certificate == "stranger" else certificate)
    if certificate == "stranger":
        context.load_cert_chain(strangers.directory / "clinique.pem", strangers.directory / "clinique.key")
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        # Under TLS 1.3 the client knows of the refusal at its first read.
        await client.start_tls(context)
        assert await client.ask("EHLO mx.clinique.mssante.test") == ""
    await ended(doors)
    assert reception.certificates == []


async def test_changed_certificate_counts_from_the_next_connection(serve: Serve, pki: Pki) -> None:
    contexts = pki.server()
    doors = await serve(contexts)
    before = await doors.mx()
    pki.issue("renewed")
    renewed = pki.server("renewed")
    contexts._made = renewed._made
    after = await doors.submission()
    assert (await before.ask("NOOP")).startswith("250")
    assert "CN=mx.cabinet" in before.certificate_name
    assert "CN=mx.renewed" in after.certificate_name


async def test_peer_certificate_goes_to_reception(serve: Serve, reception: MemoryReception, pki: Pki) -> None:
    await (await serve()).mx()
    pem = (pki.directory / "clinique.pem").read_text().partition("-----END CERTIFICATE-----")
    assert reception.certificates == [ssl.PEM_cert_to_DER_cert(pem[0] + pem[1])]


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["mx", "submission", "submissions"])
async def test_silence_is_ended(door: str, serve: Serve) -> None:
    client = await (await serve(command_timeout_s=0.05)).connect(door)
    assert (await client.line()).startswith("220")
    assert (await client.line()).startswith("421 4.4.2")
    assert await client.rest() == b""


async def test_silence_in_a_message_is_ended(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve(data_timeout_s=0.05)).mx()
    await begin(client)
    await client.send(b"Subject: ")
    assert (await client.line()).startswith("421 4.4.2")
    assert await client.rest() == b""
    assert (reception.stored, reception.aborted) == ([], 1)


async def test_slow_but_live_sender_is_not_ended(serve: Serve) -> None:
    """The time counts from the last octet: a message may take longer than any one wait."""
    doors = await serve(data_timeout_s=100)
    client = await doors.mx()
    await begin(client)
    before = only(doors)._deadline
    await client.send([b"x", b"y"])
    assert only(doors)._deadline > before
    assert (await client.ask(b"\r\n.\r\n")).startswith("250")


async def test_handshake_that_does_not_come(serve: Serve) -> None:
    doors = await serve(handshake_timeout_s=0.05)
    client = await doors.connect_with("submissions", None)
    assert await client.rest() == b""
    await ended(doors)


async def test_peer_that_reads_nothing_is_cut(serve: Serve) -> None:
    """Its answers pile up in bounded buffers, then nothing of it is read any more, then it is cut."""
    doors = await serve(command_timeout_s=0.2, max_idle_commands=1_000_000)
    client = await doors.mx()
    client.stop_reading()
    client.write(b"EHLO mx.clinique.mssante.test\r\n" * 200_000)
    connection = only(doors)
    await ended(doors)
    assert len(connection._framer) < 512 * 1024
    client.close()


async def test_store_that_does_not_answer(serve: Serve, reception: MemoryReception) -> None:
    """Our own delay has its own, longer limit; the peer is told nothing, so it keeps the message."""
    doors = await serve(delivery_timeout_s=0.5)
    client = await doors.mx()
    reception.holding = asyncio.Event()
    await begin(client)
    await client.send(b"corps\r\n.\r\n")
    assert await client.rest_or_reset() == b""
    reception.holding.set()
    await ended(doors)
    assert len(reception.stored) == 1


# --- limits ---------------------------------------------------------------------------------------


async def test_connections_from_one_address(serve: Serve) -> None:
    doors = await serve(connections_per_ip=2)
    first, second = await doors.connect("mx"), await doors.connect("mx")
    assert [(await client.line())[:3] for client in (first, second)] == ["220", "220"]
    third = await doors.connect("mx")
    assert (await third.line()).startswith("421 4.7.0")
    assert await third.rest() == b""
    assert (await (await doors.connect("submission")).line()).startswith("220")  # each port apart
    assert (await first.ask("QUIT")).startswith("221")
    assert await first.rest() == b""
    assert (await (await doors.connect("mx")).line()).startswith("220")


async def test_connections_in_all(serve: Serve) -> None:
    doors = await serve(connections=1)
    await doors.submission()
    with pytest.raises((ssl.SSLError, ConnectionError)):  # before TLS nothing can be said there
        await doors.connect("submissions")


async def test_limits_adopted_later(serve: Serve) -> None:
    doors = await serve(connections=1, max_size=1000)
    assert (await (await doors.connect("mx")).line()).startswith("220")
    doors.listeners.adopt(doors.settings(connections=2, max_size=2000))
    client = await doors.connect("mx")
    await client.reply()
    await client.send(b"EHLO mx.clinique.mssante.test\r\n")
    assert "250-SIZE 2000" in await client.reply()


async def test_octets_kept_of_a_hasty_peer_are_bounded(serve: Serve, reception: MemoryReception) -> None:
    """While a message is stored nothing more is read, whatever comes behind it."""
    doors = await serve()
    client = await doors.mx()
    reception.holding = asyncio.Event()
    await begin(client)
    client.write(b"corps\r\n.\r\n" + b"NOOP\r\n" * 500_000)
    await reception.finishing.wait()
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(only(doors)._framer) <= 512 * 1024
    reception.holding.set()
    assert (await client.line()).startswith("250 2.0.0 Message")
    assert (await client.line()).startswith("250 2.0.0 Accepte")


# --- the account, the service ---------------------------------------------------------------------


async def test_account_closed_while_idle(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).submission("clos@cabinet.mssante.test")
    reception.close_account("clos@cabinet.mssante.test")
    assert (await client.line()).startswith("421 4.7.0")
    assert await client.rest() == b""
    assert reception.watchers["clos@cabinet.mssante.test"] == []


async def test_account_closed_in_a_message(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).submission("clos@cabinet.mssante.test")
    await begin(client)
    await client.send(b"Subject: ")
    reception.close_account("clos@cabinet.mssante.test")
    assert (await client.line()).startswith("421 4.7.0")
    assert (reception.stored, reception.aborted) == ([], 1)


async def test_account_closed_while_storing(serve: Serve, reception: MemoryReception) -> None:
    """What the store then says is the truth, and the peer is told it first."""
    client = await (await serve()).submission("clos@cabinet.mssante.test")
    reception.holding = asyncio.Event()
    await begin(client)
    await client.send(b"corps\r\n.\r\n")
    await reception.finishing.wait()
    reception.close_account("clos@cabinet.mssante.test")
    reception.holding.set()
    assert (await client.line()).startswith("250 2.0.0")
    assert (await client.line()).startswith("421 4.7.0")


async def test_drain(serve: Serve, reception: MemoryReception) -> None:
    """Idle sessions are told at once, a message under way comes to its end, nobody new is let in."""
    doors = await serve()
    idle, storing, sending = await doors.mx(), await doors.mx(), await doors.mx()
    reception.holding = asyncio.Event()
    await begin(storing)
    await storing.send(b"corps\r\n.\r\n")
    await reception.finishing.wait()
    await begin(sending)
    await sending.send(b"cor")
    draining = asyncio.create_task(doors.listeners.drain(30))
    assert (await idle.line()).startswith("421 4.3.2")
    with pytest.raises(ConnectionError):
        await doors.connect("mx")
    reception.holding.set()
    assert (await storing.line()).startswith("250 2.0.0")
    assert (await storing.line()).startswith("421 4.3.2")
    await sending.send(b"ps\r\n.\r\n")
    assert (await sending.line()).startswith("250 2.0.0")
    assert (await sending.line()).startswith("421 4.3.2")
    await draining
    assert len(reception.stored) == 2


async def test_drain_does_not_wait_for_ever(serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()
    client = await doors.mx()
    await begin(client)
    await doors.listeners.drain(0.01)
    assert (await client.line()).startswith("421 4.3.2")
    assert reception.stored == []


# --- faults behind the door -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ([], f"MAIL FROM:<{SENDER}>"),
        ([f"MAIL FROM:<{SENDER}>"], "RCPT TO:<a@cabinet.mssante.test>"),
        ([f"MAIL FROM:<{SENDER}>", "RCPT TO:<a@cabinet.mssante.test>"], "DATA"),
    ],
)
async def test_fault_is_never_told(before: list[str], command: str, serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).mx()
    for said in before:
        assert (await client.ask(said)).startswith("250")
    reception.fault = RuntimeError("postgres://user:pw@db")
    answer = await client.ask(command)
    assert answer.startswith("451 4.3.0")
    assert "postgres" not in answer
    assert (await client.ask("NOOP")).startswith("250")


@pytest.mark.parametrize("body", [[b"Subject: x\r\n", b"\r\ncorps\r\n.\r\n"], [b".\r\n"]])
async def test_fault_in_a_message(body: list[bytes], serve: Serve, reception: MemoryReception) -> None:
    """In `feed`, or in `finish`: the message is followed to its end, nothing is kept, the session goes on."""
    client = await (await serve()).mx()
    await begin(client)
    reception.fault = OSError("/data/contents: read-only file system")
    await client.send(body)
    assert (await client.line()).startswith("451 4.3.0")
    assert (await client.ask("NOOP")).startswith("250")
    assert reception.stored == []


async def test_fault_of_our_own_in_a_message_ends_the_session(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the message ends is then not known: what follows must not be read as commands."""
    client = await (await serve()).mx()
    await begin(client)

    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("smtp_in.incoming.Incoming.feed", fail)
    await client.send(b"corps\r\nNOOP\r\n")
    assert (await client.line()).startswith("421 4.3.0")
    assert await client.rest() == b""


async def test_reception_may_end_the_session(serve: Serve, reception: MemoryReception) -> None:
    """A verdict whose answer is 421 closes, as RFC 5321 §3.8 wants it."""
    reception.refusals["a@cabinet.mssante.test"] = Defer(Rule.AUTH_TOO_MANY, "throttled")
    client = await (await serve()).connect("submissions")
    await client.reply()
    await client.ask("EHLO poste.cabinet.test")
    response = base64.b64encode(b"\0a@cabinet.mssante.test\0x").decode("ascii")
    assert (await client.ask(f"AUTH PLAIN {response}")).startswith("421 4.7.0")
    assert await client.rest() == b""


async def test_refused_in_the_middle(serve: Serve, reception: MemoryReception) -> None:
    """The answer comes after the message's end, and what the message holds is never read as commands."""
    client = await (await serve()).mx()
    reception.refuse_content = (10, Defer(Rule.STORE_CONTENTS, "disk full"))
    await begin(client)
    await client.send([b"0123456789\r\n", b"QUIT\r\nQUIT\r\n", b"\r\n.\r\nNOOP\r\n"])
    assert (await client.line()).startswith("452 4.3.1")
    assert (await client.line()).startswith("250 2.0.0 Accepte")
    assert (reception.stored, reception.aborted) == ([], 1)


async def test_fault_at_sign_in(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).connect("submissions")
    await client.reply()
    await client.ask("EHLO poste.cabinet.test")
    reception.fault = RuntimeError("secret")
    assert (
        await client.ask("AUTH PLAIN AGEAYg==") == "451 4.3.0 Erreur interne, rien n'est accepte ; reessayez plus tard"
    )


# --- what Reception is told -----------------------------------------------------------------------


async def test_parameters_keep_their_case(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve()).mx()
    await client.ask(f"MAIL FROM:<{SENDER}> SIZE=7 ret=full ENVID=Qq+2B7 BODY=8bitmime")
    await client.ask("RCPT TO:<A@Cabinet.mssante.test> NOTIFY=failure,Delay ORCPT=rfc822;Jean+2BA@Cabinet.test")
    await client.ask("DATA")
    await client.ask(b"corps\r\n.\r\n")
    (said,) = reception.stored
    assert (str(said.sender), said.size, said.ret, said.envid, said.body) == (SENDER, 7, "FULL", "Qq+2B7", "8BITMIME")
    assert said.recipients == [("a@cabinet.mssante.test", "FAILURE,DELAY", "rfc822;Jean+2BA@Cabinet.test")]


@pytest.mark.parametrize(
    ("enter", "hello", "mail", "protocol"),
    [
        ("mx", "EHLO", "", "ESMTPS"),
        ("mx", "HELO", "", "SMTP"),
        ("mx", "EHLO", " SMTPUTF8", "UTF8SMTPS"),
        ("submission", "EHLO", "", "ESMTPSA"),
        ("submission", "EHLO", " SMTPUTF8", "UTF8SMTPSA"),
    ],
)
async def test_trace(
    enter: str, hello: str, mail: str, protocol: str, serve: Serve, reception: MemoryReception
) -> None:
    doors = await serve()
    client = await (doors.mx() if enter == "mx" else doors.submission())
    await client.ask(f"{hello} hote.test")
    await client.ask(f"MAIL FROM:<>{mail}")
    await client.ask("RCPT TO:<a@cabinet.mssante.test>")
    await client.ask("DATA")
    assert (await client.ask(b".\r\n")).startswith("250")
    trace = reception.stored[0].trace
    assert trace is not None
    assert (trace.helo, trace.peer_ip, trace.protocol) == ("hote.test", "127.0.0.1", protocol)
    assert trace.tls.startswith("TLSv1.3 TLS_")


async def test_postmaster_alone(serve: Serve, reception: MemoryReception) -> None:
    client = await (await serve(postmaster="postmaster@cabinet.mssante.test")).mx()
    await client.ask("MAIL FROM:<>")
    assert (await client.ask("RCPT TO:<Postmaster>")).startswith("250")
    assert reception.said[0].recipients[0][0] == "postmaster@cabinet.mssante.test"


# --- how it is said -------------------------------------------------------------------------------


async def test_group_of_commands_has_one_write(serve: Serve) -> None:
    """RFC 2920 §3.2: the answers to a group leave together, 354 with them."""
    doors = await serve()
    client = await doors.mx()
    connection = only(doors)
    writes = WriteCounter(connection._live)
    connection._live = writes  # type: ignore[assignment]
    recipients = b"".join(b"RCPT TO:<r%d@cabinet.mssante.test>\r\n" % number for number in range(40))
    await client.send(f"MAIL FROM:<{SENDER}>\r\n".encode() + recipients + b"DATA\r\n")
    assert [(await client.line())[:3] for _ in range(42)] == ["250"] * 41 + ["354"]
    assert (await client.ask(b"corps\r\n.\r\n")).startswith("250")
    assert writes.count == 2


class WriteCounter:
    """A transport that counts its writes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self.count = transport, 0

    def write(self, data: bytes) -> None:
        self.count += 1
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_log_has_no_ins_and_no_subject(serve: Serve, reception: MemoryReception) -> None:
    ins, other = "255082A00400123", "184127645108946"
    reception.refusals[f"{other}@patient.mssante.test"] = Refuse(Rule.RECIPIENT_INS, f"no {other}: wrong key")
    doors = await serve()
    with capture_logs() as events:
        client = await doors.submission(f"{ins}@patient.mssante.test")
        await client.ask(f"MAIL FROM:<{ins}@patient.mssante.test>")
        await client.ask(f"RCPT TO:<{other}@patient.mssante.test>")
        await client.ask("RCPT TO:<a@cabinet.mssante.test>")
        await client.ask("DATA")
        await client.ask(b"Subject: Compte rendu\r\n\r\ncorps\r\n.\r\n")
        await client.ask("QUIT")
        await client.rest()
        await ended(doors)
    names = [event["event"].removeprefix("smtp_in.") for event in events]
    assert names == ["secured", "signed_in", "refused", "accepted", "session_closed"]
    told = repr(events).upper()
    assert ins not in told
    assert other not in told
    assert "COMPTE" not in told
    assert events[2]["rule"] == "recipient.ins"
    assert events[2]["recipient"] == "(ins)@patient.mssante.test"
