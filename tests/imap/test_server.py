"""Connections: TLS, limits, farewells, backpressure, large messages; what no client library shows."""

import asyncio
import base64
import contextlib
import re
import socket
import ssl
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from imap.connection import Connection
from imap.settings import ImapSettings
from mssante.services.messages import Message
from tests.imap.made import ALICE, BOB, PASSWORD, Line, Operator, letter, make_pki

Connect = Callable[[], Awaitable[Line]]


# -- TLS


async def test_starttls_then_sign_in(operator: Operator) -> None:
    line = await Line.connect(operator.starttls)
    assert b"LOGINDISABLED" in await line.line()
    assert (await line.command("STARTTLS"))[-1].startswith(b"t1 OK ")
    await line.writer.start_tls(operator.pki.client(), server_hostname="localhost")
    assert b"AUTH=PLAIN" in (await line.command("CAPABILITY"))[0]
    await line.sign_in()
    await line.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_authenticate_step_by_step(mechanism: str, connect: Connect) -> None:
    line = await connect()
    await line.send(f"a1 AUTHENTICATE {mechanism}\r\n".encode())
    if mechanism == "PLAIN":
        steps = [(b"+ ", f"\0{ALICE}\0{PASSWORD}")]
    else:
        steps = [(b"+ VXNlcm5hbWU6", ALICE), (b"+ UGFzc3dvcmQ6", PASSWORD)]
    for challenge, response in steps:
        assert await line.line() == challenge
        await line.send(base64.b64encode(response.encode()) + b"\r\n")
    assert (await line.line()).startswith(b"a1 OK [CAPABILITY IMAP4rev1 ")
    assert (await line.command("SELECT INBOX"))[-1].endswith(b"SELECT completed")


async def test_nobody_signs_in_in_anothers_name(connect: Connect) -> None:
    line = await connect()
    response = base64.b64encode(f"{BOB}\0{ALICE}\0{PASSWORD}".encode()).decode()
    assert b" NO [AUTHORIZATIONFAILED] " in (await line.command(f"AUTHENTICATE PLAIN {response}"))[-1]


async def test_a_new_certificate_serves_from_the_next_connection_on(
    operator: Operator, connect: Connect, tmp_path: Path
) -> None:
    before = await connect()
    other = await asyncio.to_thread(make_pki, tmp_path / "other")
    operator.server.context = other.contexts().client_server
    with pytest.raises(ssl.SSLCertVerificationError):
        await Line.connect(operator.tls, operator.pki.client())
    after = await Line.connect(operator.tls, other.client())
    assert (await after.line()).startswith(b"* OK ")
    assert (await before.command("NOOP"))[-1] == b"t1 OK NOOP completed"
    await after.close()


async def test_a_handshake_that_fails_leaves_nothing_behind(operator: Operator) -> None:
    line = await Line.connect(operator.tls)
    await line.send(b"a1 LOGIN in clear\r\n")
    assert await line.reader.read(100) is not None
    await line.close()
    await _settled(lambda: operator.server.connections == 0)


async def _settled(condition: Callable[[], bool]) -> None:
    """Until the loop has brought the condition about; the test's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(0.001)


# -- farewells


async def test_closing_the_account_ends_its_sessions_idle_or_not(operator: Operator, connect: Connect) -> None:
    idling, waiting, other = await connect(), await connect(), await connect()
    await idling.sign_in()
    await waiting.sign_in()
    await other.sign_in(BOB)
    await idling.command("SELECT INBOX")
    await idling.send(b"i1 IDLE\r\n")
    assert await idling.line() == b"+ idling"
    await operator.close_bal(ALICE)
    async with asyncio.timeout(60):
        for line in (idling, waiting):
            assert (await line.line()).startswith(b"* BYE [CONTACTADMIN] ")
            assert await line.line() == b""
    assert (await other.command("NOOP"))[-1].endswith(b"OK NOOP completed")
    again = await connect()
    assert b" NO [AUTHENTICATIONFAILED] " in (await again.command(_login(ALICE)))[-1]


def _login(address: str) -> str:
    quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    return f'LOGIN {address} "{quoted}"'


async def test_stopping_says_bye_and_finishes_what_runs(operator: Operator, alice: Line, connect: Connect) -> None:
    fresh = await connect()
    await alice.send(b"a1 APPEND INBOX {3}\r\n")
    assert await alice.line() == b"+ OK"
    await operator.server.close(1.0)
    assert (await fresh.line()).startswith(b"* BYE ")
    assert (await alice.line()).startswith(b"* BYE ")
    assert operator.server.connections == 0
    with pytest.raises(ConnectionError):
        await Line.connect(operator.tls)


async def test_autologout(operator: Operator, alice: Line, connect: Connect) -> None:
    """RFC 9051 §5.4: not before 30 minutes for who is signed in, soon for who is not."""
    fresh = await connect()
    now = asyncio.get_running_loop().time()
    operator.server.expire(now + 61)
    assert (await fresh.line()).startswith(b"* BYE ")
    operator.server.expire(now + 1800)
    assert (await alice.command("NOOP"))[-1].endswith(b"OK NOOP completed")
    operator.server.expire(now + 1900)
    assert (await alice.line()).startswith(b"* BYE ")


# -- limits


@pytest.fixture
def small(imap_settings: ImapSettings) -> ImapSettings:
    return imap_settings


class TestLimits:
    @pytest.fixture
    def imap_settings(self) -> ImapSettings:
        return ImapSettings(
            message_octets=5000,
            command_octets=3000,
            line_octets=2000,
            connections=3,
            connections_per_ip=2,
            failed_logins=2,
            bad_commands=3,
        )

    async def test_connections_of_one_address(self, operator: Operator, connect: Connect) -> None:
        await connect()
        last = await connect()
        third = await Line.connect(operator.starttls)
        assert (await third.line()).startswith(b"* BYE ")
        assert await third.line() == b""
        await third.close()
        third = await Line.connect(operator.tls, operator.pki.client())
        assert (await third.line()).startswith(b"* BYE [UNAVAILABLE] ")
        assert await third.line() == b""
        await third.close()
        await last.command("LOGOUT")
        await last.close()
        await _settled(lambda: operator.server.connections == 1)
        await connect()

    async def test_no_more_than_some_are_told_over_tls_that_there_are_too_many(
        self, operator: Operator, connect: Connect
    ) -> None:
        await connect()
        await connect()
        silent = [await asyncio.open_connection("127.0.0.1", operator.tls) for _ in range(20)]
        await _settled(lambda: operator.server._telling == 20)
        reader, writer = await asyncio.open_connection("127.0.0.1", operator.tls)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        for _, waiting in [*silent, (reader, writer)]:
            waiting.close()
        await _settled(lambda: operator.server._telling == 0)

    async def test_a_client_that_is_gone_without_a_word_is_noticed(self, operator: Operator, connect: Connect) -> None:
        await connect()
        [connection] = operator.server._connections
        assert connection._transport is not None
        accepted = connection._transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 300

    async def test_failed_logins(self, connect: Connect) -> None:
        line = await connect()
        for _ in range(2):
            assert b" NO [AUTHENTICATIONFAILED] " in (await line.command("LOGIN nobody@cabinet.test x"))[-1]
        assert (await line.line()).startswith(b"* BYE ")

    async def test_bad_commands(self, connect: Connect) -> None:
        line = await connect()
        for _ in range(3):
            assert b" BAD " in (await line.command("XYZZY"))[-1]
        assert (await line.line()).startswith(b"* BYE ")

    async def test_a_message_too_large_is_refused_by_its_announced_size(self, alice: Line) -> None:
        assert (await alice.command("APPEND INBOX {5001}"))[-1] == b"t2 NO [TOOBIG] Message too large"
        await alice.send(b"a2 APPEND INBOX {5001+}\r\n" + b"x" * 5001 + b"\r\n")
        assert (await alice.until(b"a2"))[-1] == b"a2 NO [TOOBIG] Message too large"
        assert (await alice.command("STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 0)"

    async def test_a_line_too_long(self, alice: Line) -> None:
        await alice.send(b"a1 SEARCH " + b"1," * 1500 + b"1\r\n")
        assert (await alice.until(b"a1"))[-1] == b"a1 NO [TOOBIG] Command line too long"
        assert (await alice.command("NOOP"))[-1].endswith(b"OK NOOP completed")


async def test_a_full_mailbox_takes_no_more(operator: Operator, connect: Connect) -> None:
    await operator.open_bal("carole@cabinet.test", quota_bytes=1000)
    line = await connect()
    await line.sign_in("carole@cabinet.test")
    assert b" NO [OVERQUOTA] " in (await line.command("APPEND INBOX {1001}"))[-1]
    await line.send(b"a1 APPEND INBOX {600+}\r\n" + b"x" * 600 + b"\r\n")
    assert (await line.until(b"a1"))[-1].startswith(b"a1 OK ")
    await line.command("SELECT INBOX")
    assert b" NO [OVERQUOTA] " in (await line.command("COPY 1 Archives"))[-1]
    assert (await line.command("STATUS Archives (MESSAGES)"))[0] == b"* STATUS Archives (MESSAGES 0)"
    assert (await line.command("MOVE 1 Archives"))[-1].endswith(b"OK MOVE completed")


# -- large messages, slow readers


def _large(octets: int) -> bytes:
    filler = b"".join(b"%076d\r\n" % number for number in range(octets // 78))
    return letter(1).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + filler


async def test_a_large_message_goes_in_and_out_unchanged(operator: Operator, alice: Line) -> None:
    message = _large(3_000_000)
    await alice.send(b"a1 APPEND INBOX {%d+}\r\n" % len(message))
    for start in range(0, len(message), 50_000):
        await alice.send(message[start : start + 50_000])
    await alice.send(b"\r\n")
    assert b"APPENDUID" in (await alice.until(b"a1"))[-1]
    await alice.command("SELECT INBOX")
    [answer, _] = await alice.command("FETCH 1 (RFC822.SIZE BODY.PEEK[])")
    assert answer == b"* 1 FETCH (RFC822.SIZE %d BODY[] {%d}\r\n" % (len(message), len(message)) + message + b")"
    [answer, _] = await alice.command("FETCH 1 BODY.PEEK[TEXT]<1000000.70>")
    assert answer.endswith(b"{70}\r\n" + message.partition(b"\r\n\r\n")[2][1_000_000:1_000_070] + b")")


async def test_a_slow_reader_holds_no_more_than_its_window(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client asks for much and reads nothing: the server stops taking octets from the store, and goes on when it
    reads."""
    message = _large(16_000_000)  # more than the system's socket buffers take
    await operator.deliver(message, ALICE, prepend=b"")
    read = 0
    original = operator.mailboxes.messages.read

    async def counted(folder_id: int, uid: int, message: Message, start: int, length: int) -> bytes:
        nonlocal read
        read += length
        return await original(folder_id, uid, message, start, length)

    monkeypatch.setattr(operator.mailboxes.messages, "read", counted)
    raw = socket.create_connection(("127.0.0.1", operator.tls))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader, writer = await asyncio.open_connection(
        sock=raw, ssl=operator.pki.client(), server_hostname="localhost", limit=4096
    )
    line = Line(reader, writer)
    await line.line()
    await line.sign_in()
    await line.command("SELECT INBOX")
    await line.send(b"a1 FETCH 1 BODY.PEEK[]\r\n")
    header = await reader.readline()
    assert header == b"* 1 FETCH (BODY[] {%d}\r\n" % len(message)
    other = await Line.connect(operator.tls, operator.pki.client())
    await other.line()
    for _ in range(200):
        await other.command("NOOP")
    assert read < len(message) // 2
    assert await reader.readexactly(len(message)) == message
    assert await line.until(b"a1") == [b")", b"a1 OK FETCH completed"]
    await other.close()
    await line.close()


async def test_a_slow_reader_of_a_long_list_holds_no_more_than_its_window_and_a_batch(operator: Operator) -> None:
    part = b'--x\r\nContent-Type: text/plain; charset=utf-8; name="compte rendu.txt"\r\n\r\n1\r\n'
    head = (
        letter(1).partition(b"MIME-Version")[0] + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n"
    )
    for _ in range(30):
        await operator.deliver(head + b"\r\n" + part * 2000 + b"--x--\r\n", ALICE)
    raw = socket.create_connection(("127.0.0.1", operator.tls))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    context = operator.pki.client()
    line = Line(*await asyncio.open_connection(sock=raw, ssl=context, server_hostname="localhost", limit=4096))
    await line.line()
    await line.sign_in()
    await line.command("SELECT INBOX")
    [asking] = operator.server._connections
    await line.send(b"a1 FETCH 1:* (ENVELOPE BODYSTRUCTURE)\r\n")
    await _settled(lambda: asking._paused is not None)
    other = await Line.connect(operator.tls, context)
    await other.line()
    for _ in range(200):
        await other.command("NOOP")
    assert _held(asking) < 2 * (ImapSettings().window_octets + 262_144 + 200_000)  # in clear and encrypted
    received = 0
    while not (lines := await line.reader.read(65536)).endswith(b"a1 OK FETCH completed\r\n"):
        received += len(lines)
    assert received > 30 * 150_000
    await other.close()
    await line.close()


def _held(connection: Connection) -> int:
    """Octets that wait for the client in this process: in clear, and encrypted ones."""
    transport = connection._transport
    assert isinstance(transport, asyncio.Transport)
    below = transport._ssl_protocol._transport  # type: ignore[attr-defined]
    return connection._out_size + transport.get_write_buffer_size() + int(below.get_write_buffer_size())


async def test_many_sections_of_one_message_are_sent_as_they_are_read(alice: Line, operator: Operator) -> None:
    """An answer a thousand times as large as its message is never held whole, nor copied for each section."""
    content = letter(1) + b"".join(b"%076d\r\n" % line for line in range(800))
    await operator.deliver(content, ALICE, prepend=b"")
    await alice.command("SELECT INBOX")
    asked = b" ".join(b"BODY.PEEK[]<%d.60000>" % start for start in range(1500))
    tracemalloc.start()
    await alice.send(b"a1 FETCH 1 (" + asked + b" UID)\r\n")
    sent, last = 0, b""
    while not last.endswith(b"a1 OK FETCH completed\r\n"):
        piece = await alice.reader.read(65536)
        assert piece
        sent += len(piece)
        last = (last + piece)[-60:]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent > 1500 * 60_000
    assert most < 8_000_000, most
    assert last.endswith(b")\r\na1 OK FETCH completed\r\n") and b" )" not in last


async def test_a_client_that_goes_away_amid_an_answer(operator: Operator) -> None:
    await operator.deliver(_large(8_000_000), ALICE)
    line = await Line.connect(operator.tls, operator.pki.client())
    await line.line()
    await line.sign_in()
    await line.command("SELECT INBOX")
    await line.send(b"a1 FETCH 1 BODY[]\r\n")
    await line.reader.readline()
    line.writer.transport.abort()
    await _settled(lambda: operator.server.connections == 0)


async def test_pipelined_commands_are_answered_in_order(alice: Line, operator: Operator) -> None:
    await operator.deliver(letter(1), ALICE)
    commands = [
        b"x1 SELECT INBOX",
        b"x2 FETCH 1 (UID)",
        b"x3 STORE 1 +FLAGS.SILENT \\Seen",
        b"x4 SEARCH SEEN",
        b"x5 LOGOUT",
    ]
    await alice.send(b"\r\n".join(commands) + b"\r\n")
    lines = await alice.until(b"x5")
    assert [line[:2] for line in lines if line.startswith(b"x")] == [b"x1", b"x2", b"x3", b"x4", b"x5"]
    assert b"* SEARCH 1" in lines


async def test_many_commands_sent_ahead_are_read_at_the_pace_they_are_answered(alice: Line) -> None:
    async def send() -> None:
        for number in range(0, 20_000, 1000):
            await alice.send(b"".join(b"n%d NOOP\r\n" % one for one in range(number, number + 1000)))

    sending = asyncio.create_task(send())
    for number in range(20_000):
        assert await alice.line() == b"n%d OK NOOP completed" % number
    await sending


# -- hostile input


HOSTILE = [
    b"\x00\x01\x02\r\n",
    b"\xff\xfe\r\n",
    b"a" * 3000 + b"\r\n",
    b"t (((((((((((((((((((((((((((((((((((((((((\r\n",
    b"t SEARCH " + b"(" * 5000 + b"\r\n",
    b"t SEARCH " + b"NOT " * 5000 + b"ALL\r\n",
    b"t SEARCH OR " + b"OR ALL " * 5000 + b"ALL\r\n",
    b"t FETCH " + b"1:4294967295," * 5000 + b"1 FLAGS\r\n",
    b"t UID FETCH " + b"1:4294967295," * 5000 + b"1 FLAGS\r\n",
    b"t UID FETCH 1:99999999999 FLAGS\r\n",
    b"t FETCH 1 BODY[" + b"1." * 5000 + b"1]\r\n",
    b"t FETCH 1 BODY[]<18446744073709551616.1>\r\n",
    b"t FETCH 1 BODY.PEEK[]<9223372036854775807.4294967295>\r\n",
    b't LIST "" ' + b"*a" * 2000 + b"\r\n",
    b't LIST "" (' + b"a " * 2000 + b"a)\r\n",
    b"t CREATE {300+}\r\n" + b"x" * 300 + b"\r\n",
    b"t CREATE " + b"a/" * 200 + b"b\r\n",
    b't CREATE "a\rb"\r\n',
    b"t RENAME INBOX ../../etc/passwd\r\n",
    b't STATUS "/etc/passwd" (MESSAGES)\r\n',
    b"t LOGIN a b\r\n",
    b"t AUTHENTICATE PLAIN " + b"A" * 4000 + b"\r\n",
    b"t STORE 1 FLAGS (" + b"k " * 200 + b"k)\r\n",
    b"t STORE 1 FLAGS (" + b" ".join(b"k%d" % n for n in range(100)) + b")\r\n",
    b"t ID (" + b'"a" "b" ' * 100 + b'"a" "b")\r\n',
    b"t ENABLE " + b"x " * 1000 + b"x\r\n",
    b"t APPEND INBOX {1+}\r\n{\r\n",
    b"t APPEND INBOX {5+}\r\n\r\n\r\n.\r\n",
    b"t STATUS INBOX (" + b"MESSAGES " * 1000 + b"MESSAGES)\r\n",
    b't COPY 1 ""\r\n',
    b't SEARCH HEADER "" ""\r\n',
    b"t SEARCH SUBJECT {2+}\r\n\xff\xfe\r\n",
    b"* NOOP\r\n",
    b"+ NOOP\r\n",
    b"\r\n\r\n",
]


@pytest.mark.parametrize("octets", HOSTILE, ids=lambda octets: octets[:30].decode("latin-1"))
async def test_hostile_input_ends_in_an_answer_and_changes_nothing(
    octets: bytes, operator: Operator, connect: Connect
) -> None:
    await operator.deliver(letter(1), ALICE)
    line = await connect()
    await line.sign_in()
    await line.command("SELECT INBOX")
    await line.send(octets)
    lines = await line.command("UID FETCH 1 (UID FLAGS)")
    assert lines[-1].endswith(b"OK FETCH completed"), lines
    assert not any(b"Traceback" in one or b"SERVERBUG" in one for one in lines)
    assert b"* 1 FETCH (UID 1 FLAGS (\\Recent))" in lines or b"FLAGS" in octets or b"BODY[" in octets
    assert (await line.command("STATUS INBOX (UIDVALIDITY)"))[-1].endswith(b"OK STATUS completed")


@pytest.mark.parametrize("octets", HOSTILE, ids=lambda octets: octets[:30].decode("latin-1"))
async def test_hostile_input_before_login(octets: bytes, connect: Connect) -> None:
    line = await connect()
    await line.send(octets + b"end NOOP\r\n")
    lines = []
    while received := await line.line():
        lines.append(received)
        if received.startswith((b"end ", b"* BYE")):
            break
    assert lines
    assert all(re.match(rb"[^ ]+ (OK|NO|BAD|BYE|ID)|\+ ", one) for one in lines), lines
