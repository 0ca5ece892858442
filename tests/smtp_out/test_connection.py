"""Real sockets, real TLS: a peer that behaves, and peers of every bad kind."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from smtp_out.connection import Connection, ConnectionLost, Timeouts
from smtp_out.dialogue import Envelope, EnvelopeRecipient, Fault, Lost
from smtp_out.replies import Reply
from tests.smtp_out.conftest import World
from tests.smtp_out.office import CLINIQUE, QUICK
from tests.smtp_out.peer import Peer, Script, Session, scripted


def envelope(*names: str, size: int = 20) -> Envelope:
    recipients = tuple(EnvelopeRecipient(f"{name}@clinique.mssante.fr") for name in names or ("a",))
    return Envelope("dr.martin@cabinet.mssante.fr", recipients, size)


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def connect(world: World, port: int, timeouts: Timeouts = QUICK) -> Connection:
    return await Connection.open(
        "127.0.0.1",
        port,
        server_name="mx.clinique.mssante.fr",
        name="mx.cabinet.mssante.fr",
        context=world.outbound(),
        timeouts=timeouts,
    )


async def fault_of(world: World, port: int, timeouts: Timeouts = QUICK) -> Lost:
    with pytest.raises(ConnectionLost) as raised:
        await connect(world, port, timeouts)
    return raised.value.lost


async def test_messages_on_one_connection(world: World) -> None:
    peer = Peer(world.server())
    async with scripted(peer.talk) as port:
        connection = await connect(world, port)
        assert connection.peer_dn is not None
        assert world.espace().accepts(CLINIQUE, connection.peer_dn)
        assert connection.offers("DSN")
        for body in (b"Subject: un\r\n\r\n.pt\r\n..\r\n", b".\r\n", b"", b"no newline at the end"):
            assert await connection.send(envelope("a", "b"), pieces(body)) == (Reply(250, ("2.0.0 ok",)),) * 2
            assert connection.usable
        await connection.close()
        assert not connection.usable
    assert peer.connections == 1
    assert [each.content for each in peer.received] == [
        b"Subject: un\r\n\r\n.pt\r\n..\r\n",
        b".\r\n",
        b"",
        b"no newline at the end\r\n",
    ]
    assert peer.received[0].commands[0] == "MAIL FROM:<dr.martin@cabinet.mssante.fr> SIZE=20 BODY=8BITMIME"


async def test_a_large_body_is_pulled_as_fast_as_the_peer_reads(world: World) -> None:
    """Memory stays bounded: while the peer reads nothing, the body is not pulled further than the buffers take."""
    pulled = 0
    reading = asyncio.Event()
    total = 24 * 1024 * 1024
    chunk = (b"x" * 76 + b"\r\n") * 1344
    stored = 0

    async def talk(session: Session) -> None:
        nonlocal stored
        await session.until_ready(world.server(), "PIPELINING")
        for answer in ("250 ok", "250 ok", "354 go"):
            await session.line()
            await session.say(answer)
        await reading.wait()
        while (piece := await session.reader.read(1 << 20)) and not piece.endswith(b"\r\n.\r\n"):
            stored += len(piece)
        stored += len(piece) - 3
        await session.say("250 ok")
        await session.line()

    async def body() -> AsyncIterator[bytes]:
        nonlocal pulled
        while pulled < total:
            pulled += len(chunk)
            yield chunk

    async with scripted(talk) as port:
        connection = await connect(world, port)
        sending = asyncio.create_task(connection.send(envelope(), body()))
        before = -1
        while before != pulled or not pulled:
            before = pulled
            for _ in range(200):
                await asyncio.sleep(0)
        assert pulled < 12 * 1024 * 1024
        reading.set()
        assert await sending == (Reply(250, ("ok",)),)
        assert stored == pulled >= total
        connection.abort()


async def test_each_recipient_has_its_answer(world: World) -> None:
    peer = Peer(world.server(), answers={"RCPT TO:<b@": "550 5.1.1 inconnu", "RCPT TO:<c@": "452 4.2.2 pleine"})
    async with scripted(peer.talk) as port:
        connection = await connect(world, port)
        results = await connection.send(envelope("a", "b", "c"), pieces(b"x\r\n"))
        await connection.close()
    assert [str(each) for each in results] == ["250 2.0.0 ok", "550 5.1.1 inconnu", "452 4.2.2 pleine"]
    assert peer.received[0].recipients == ["a@clinique.mssante.fr"]


async def test_refused_at_mail(world: World) -> None:
    peer = Peer(world.server(), answers={"MAIL": "550 5.7.1 non"})
    async with scripted(peer.talk) as port:
        connection = await connect(world, port)
        assert [str(each) for each in await connection.send(envelope("a", "b"), pieces(b"x\r\n"))] == [
            "550 5.7.1 non"
        ] * 2
        assert connection.usable
        await connection.close()


@pytest.mark.parametrize("answer", ["451 4.3.0 plus tard", "554 5.5.1 non"])
async def test_refused_at_data_and_after_the_content(world: World, answer: str) -> None:
    peer = Peer(world.server(), answers={"DATA": answer})
    async with scripted(peer.talk) as port:
        connection = await connect(world, port)
        assert [str(each) for each in await connection.send(envelope(), pieces(b"x\r\n"))] == [answer]
        peer.answers.clear()
        peer.final.append(answer)
        assert [str(each) for each in await connection.send(envelope(), pieces(b"x\r\n"))] == [answer]
        assert [str(each) for each in await connection.send(envelope(), pieces(b"x\r\n"))] == ["250 2.0.0 ok"]
        await connection.close()


async def test_cut_after_the_final_dot_is_no_success(world: World) -> None:
    peer = Peer(world.server(), final=[""])
    async with scripted(peer.talk) as port:
        connection = await connect(world, port)
        (result,) = await connection.send(envelope(), pieces(b"x\r\n"))
        assert isinstance(result, Lost)
        assert result.fault is Fault.CLOSED
        assert "after the content" in result.detail
        assert not connection.usable


async def test_refusal_in_the_middle_of_the_content(world: World) -> None:
    async def talk(session: Session) -> None:
        await session.until_ready(world.server(), "PIPELINING")
        for answer in ("250 ok", "250 ok", "354 go"):
            await session.line()
            await session.say(answer)
        await session.say("552 5.3.4 trop grand")
        await session.reader.read()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 70_000 + b"\r\n"
            await asyncio.sleep(0)

    async with scripted(talk) as port:
        connection = await connect(world, port)
        (result,) = await connection.send(envelope(), endless())
        assert str(result) == "552 5.3.4 trop grand"
        assert not connection.usable


async def test_a_body_that_cannot_be_read_is_never_ended_with_a_dot(world: World) -> None:
    peer = Peer(world.server())

    async def broken() -> AsyncIterator[bytes]:
        yield b"Subject: x\r\n\r\n"
        yield b"half"
        raise OSError("the disk is gone")

    async with scripted(peer.talk) as port:
        connection = await connect(world, port)
        with pytest.raises(OSError, match="the disk is gone"):
            await connection.send(envelope(), broken())
        assert not connection.usable
        # Another connection shows that the peer is alive and holds nothing of the broken message.
        connection = await connect(world, port)
        await connection.send(envelope(), pieces(b"x\r\n"))
        await connection.close()
    assert [each.content for each in peer.received] == [b"x\r\n"]


async def test_a_kept_connection_that_is_gone_is_told_apart(world: World) -> None:
    """The caller may try at once elsewhere: the peer has said nothing to this transaction."""
    closing = asyncio.Event()

    async def talk(session: Session) -> None:
        await session.until_ready(world.server(), "PIPELINING")
        for answer in ("250 ok", "250 ok", "354 go"):
            await session.line()
            await session.say(answer)
        await session.content()
        await session.say("250 ok")
        await session.line()
        session.reset()
        closing.set()

    async with scripted(talk) as port:
        connection = await connect(world, port)
        await connection.send(envelope(), pieces(b"x\r\n"))
        with pytest.raises(ConnectionLost):
            await connection.send(envelope(), pieces(b"x\r\n"))
        with pytest.raises(ConnectionLost):
            await connection.send(envelope(), pieces(b"x\r\n"))


# -- trust ---------------------------------------------------------------------------------------------------------


async def test_a_certificate_of_a_stranger_is_seen_by_its_name(world: World) -> None:
    """Of the same authority, valid, not revoked: only the list tells it from the right one."""
    peer = Peer(world.server("stranger"))
    async with scripted(peer.talk) as port:
        connection = await connect(world, port)
        assert connection.peer_dn is not None
        assert not world.espace().accepts(CLINIQUE, connection.peer_dn)
        await connection.close()


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("expired", "expired"), ("revoked", "revoked"), ("other_authority", "unable to get local issuer")],
)
async def test_a_bad_certificate_ends_in_its_own_fault(world: World, certificate: str, words: str) -> None:
    async with scripted(Peer(world.server(certificate)).talk) as port:
        lost = await fault_of(world, port)
    assert lost.fault is Fault.PEER_CERTIFICATE
    assert words in lost.detail


async def test_no_starttls(world: World) -> None:
    said = []

    async def talk(session: Session) -> None:
        await session.say("220 mx")
        said.append(await session.line())
        await session.say("250 mx")
        said.append(await session.line())

    async with scripted(talk) as port:
        assert (await fault_of(world, port)).fault is Fault.NO_STARTTLS
    assert said == ["EHLO mx.cabinet.mssante.fr"]


async def test_clear_text_behind_starttls(world: World) -> None:
    async def talk(session: Session) -> None:
        await session.say("220 mx")
        await session.line()
        await session.say("250-mx", "250 STARTTLS")
        await session.line()
        await session.say("220 go", "250-mx", "250 PIPELINING")
        assert await session.reader.read() == b"", "not even a handshake may follow"

    async with scripted(talk) as port:
        assert (await fault_of(world, port)).fault is Fault.CLEAR_TEXT_AFTER_STARTTLS


def refusing(world: World, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server that trusts an authority of which our certificate is not."""
    context = world.server("stranger")
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(world.directory / "elsewhere" / "pki" / "ca.pem")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_our_certificate_refused_with_an_alert(world: World, version: ssl.TLSVersion) -> None:
    """OpenSSL on the other side: with TLS 1.3 the refusal comes after our handshake is done (RFC 8446 §4.4.2)."""
    context = refusing(world, version)

    async def talk(session: Session) -> None:
        await session.say("220 mx")
        await session.line()
        await session.say("250-mx", "250 STARTTLS")
        await session.line()
        await session.say("220 go")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        refused = False
        while not refused:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await session.raw(outgoing.read())
                incoming.write(await session.reader.read(65536))
            except ssl.SSLCertVerificationError:
                refused = True
        await session.raw(outgoing.read())

    async with scripted(talk) as port:
        lost = await fault_of(world, port)
    assert lost.fault is Fault.CERTIFICATE_REFUSED
    assert "unknown_ca" in lost.detail


async def test_closed_without_a_word_after_the_handshake(world: World) -> None:
    """What many servers do with a certificate they do not want; a dead network looks the same: its own name."""

    async def talk(session: Session) -> None:
        await session.until_tls(world.server())
        session.reset()

    async with scripted(talk) as port:
        assert (await fault_of(world, port)).fault is Fault.CLOSED_AFTER_HANDSHAKE


async def test_closed_after_a_word_is_a_plain_loss(world: World) -> None:
    async def talk(session: Session) -> None:
        await session.until_tls(world.server())
        await session.line()
        await session.raw(b"250-mx\r\n")
        session.reset()

    async with scripted(talk) as port:
        assert (await fault_of(world, port)).fault is Fault.CLOSED


async def test_not_tls_behind_starttls(world: World) -> None:
    async def talk(session: Session) -> None:
        await session.say("220 mx")
        await session.line()
        await session.say("250-mx", "250 STARTTLS")
        await session.line()
        await session.say("220 go")
        await session.reader.read(100)
        await session.say("hello?")

    async with scripted(talk) as port:
        assert (await fault_of(world, port)).fault is Fault.TLS_FAILED


# -- the network ---------------------------------------------------------------------------------------------------


async def test_nobody_listens(world: World) -> None:
    async with scripted(Peer(world.server()).talk) as port:
        pass
    lost = await fault_of(world, port)
    assert lost.fault is Fault.UNREACHABLE
    assert str(port) not in lost.detail


async def silent(session: Session) -> None:
    await session.reader.read()


async def greets_only(session: Session) -> None:
    await session.say("220 mx")
    await session.reader.read()


async def drips(session: Session) -> None:
    """Bytes, but never a reply: no progress."""
    while True:
        await session.raw(b"220-wait\r\n")


async def no_handshake(session: Session) -> None:
    await session.say("220 mx")
    await session.line()
    await session.say("250-mx", "250 STARTTLS")
    await session.line()
    await session.say("220 go")
    await session.reader.read()


@pytest.mark.parametrize(
    ("script", "timeouts", "fault"),
    [
        (silent, Timeouts(greeting=0.3), Fault.TIMEOUT),
        (greets_only, Timeouts(command=0.3), Fault.TIMEOUT),
        (drips, Timeouts(), Fault.REPLY_TOO_LONG),
        (no_handshake, Timeouts(handshake=0.3), Fault.TLS_FAILED),
    ],
)
async def test_a_peer_that_does_not_go_on(world: World, script: Script, timeouts: Timeouts, fault: Fault) -> None:
    async with scripted(script) as port:
        assert (await fault_of(world, port, timeouts)).fault is fault


async def test_a_peer_that_stops_taking_the_content(world: World) -> None:
    stuck = asyncio.Event()

    async def talk(session: Session) -> None:
        await session.until_ready(world.server(), "PIPELINING")
        for answer in ("250 ok", "250 ok", "354 go"):
            await session.line()
            await session.say(answer)
        await stuck.wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000 + b"\r\n"

    async with scripted(talk) as port:
        connection = await connect(world, port, Timeouts(block=0.3, goodbye=0.1))
        (result,) = await connection.send(envelope(), endless())
        assert isinstance(result, Lost)
        assert result.fault is Fault.TIMEOUT
        stuck.set()


async def test_a_peer_that_never_answers_the_content(world: World) -> None:
    peer = Peer(world.server(), hold=asyncio.Event())
    async with scripted(peer.talk) as port:
        connection = await connect(world, port, Timeouts(final=0.2, goodbye=0.1))
        (result,) = await connection.send(envelope(), pieces(b"x\r\n"))
        assert isinstance(result, Lost)
        assert result.fault is Fault.TIMEOUT
        assert "nobody knows" in result.detail
        assert peer.hold is not None
        peer.hold.set()
