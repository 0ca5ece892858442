"""The antivirus: what a real clamd finds is refused and leaves nothing; a scanner that is no help is never a yes."""

import asyncio
import base64
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mssante.domain.address import parse_address
from mssante.domain.transaction import Charter
from mssante.domain.verdict import ACCEPT, Defer, Refuse, Rule
from mssante.services.antivirus import PIECE, Antivirus, ping
from mssante.services.arrival import Stored
from mssante.store import StoreUnavailable
from mssante.store.verify import verify
from tests.mssante.services.conftest import COLLEAGUE, DOCTOR, PATIENTS, SECRETARY, TRACE, Cabinet
from tests.support.clamd import EICAR, LARGEST, NAME, Clamd, running
from tests.support.operators import free_ports


@pytest.fixture(scope="session")
def clamd() -> Iterator[Clamd]:
    with running(free_ports(1)) as found:
        yield found


def scanner(where: str, *, timeout_s: float = 50, at_once: int = 4, accept_unscanned: bool = False) -> Antivirus:
    return Antivirus(where, timeout_s=timeout_s, at_once=at_once, accept_unscanned=accept_unscanned)


async def pieces(*octets: bytes) -> AsyncIterator[bytes]:
    for piece in octets:
        yield piece


def attached(content: bytes, sender: str) -> bytes:
    """A message with that attachment, in base64."""
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return (
        (
            f"From: <{sender}>\r\nSubject: essai\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
            "--b\r\nContent-Type: text/plain\r\n\r\nBonjour.\r\n--b\r\n"
            'Content-Type: application/octet-stream; name="piece"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        ).encode()
        + encoded
        + b"--b--\r\n"
    )


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dossier/piece.com", content)
    return packed.getvalue()


def left_behind(cabinet: Cabinet) -> list[Path]:
    """The files of large contents."""
    return list(cabinet.store.contents.root.rglob("m*"))


# --- a real clamd ---------------------------------------------------------------------------------


@pytest.mark.parametrize("submitted", [False, True])
@pytest.mark.parametrize("how", ["unix", "tcp"])
@pytest.mark.parametrize(
    "content",
    [
        lambda sender: f"From: <{sender}>\r\n\r\n".encode() + EICAR + b"\r\n",
        lambda sender: attached(EICAR, sender),
        lambda sender: attached(zipped(EICAR), sender),
    ],
    ids=["plain", "base64", "zip"],
)
async def test_what_is_found_is_refused(
    content: Callable[[str], bytes], how: str, submitted: bool, clamd: Clamd, cabinet: Cabinet
) -> None:
    antivirus = cabinet.intake.antivirus = scanner(getattr(clamd, how))
    sender = DOCTOR if submitted else COLLEAGUE
    caller = await cabinet.signed_in() if submitted else cabinet.colleague
    refused = await cabinet.send(caller, sender, [SECRETARY], content(sender))
    assert refused == Refuse(Rule.MESSAGE_VIRUS, NAME)
    assert cabinet.inbox(SECRETARY) == []
    clean = content(sender).replace(EICAR, b"Bonjour.")
    if clean != content(sender):
        assert isinstance(await cabinet.send(caller, sender, [SECRETARY], clean), Stored)
        assert cabinet.inbox(SECRETARY)[0].endswith(clean)
    assert (antivirus.found, antivirus.away) == (1, 0)


@pytest.mark.parametrize("before", [100, 100_000, 200_000, 300_000, 900_000])
async def test_whatever_the_size_it_is_read_whole_and_nothing_is_left(
    before: int, clamd: Clamd, cabinet: Cabinet
) -> None:
    """Small ones are in memory, larger ones encrypted there, the largest in a file: each is read back."""
    cabinet.intake.antivirus = scanner(clamd.unix)
    clean = attached(bytes(before * 3 // 4), COLLEAGUE)
    assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], clean, piece=50_000), Stored)
    assert cabinet.inbox(DOCTOR)[0].endswith(clean)
    kept = left_behind(cabinet)
    found = clean.replace(b"--b--\r\n", b"\r\n" + EICAR + b"\r\n--b--\r\n")
    refused = await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], found, piece=50_000)
    assert refused == Refuse(Rule.MESSAGE_VIRUS, NAME)
    assert left_behind(cabinet) == kept
    assert len(cabinet.inbox(DOCTOR)) == 1
    assert verify(cabinet.store).faults == []


async def test_25_megabytes_and_a_small_one_beside(clamd: Clamd, cabinet: Cabinet) -> None:
    cabinet.intake.antivirus = scanner(clamd.unix)
    cabinet.reception.adopt(Charter(frozenset({PATIENTS})), 30_000_000, 30_000_000)
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    await cabinet.reception.recipient(transaction, parse_address(DOCTOR))
    large = attached(bytes(range(256)) * 72_000, COLLEAGUE)
    assert len(large) > 25_000_000
    arrival = cabinet.reception.receive(transaction, TRACE)
    for start in range(0, len(large), 64 * 1024):
        arrival.feed(large[start : start + 64 * 1024])
    outcome, beside = await asyncio.gather(
        arrival.finish(),
        cabinet.send(cabinet.colleague, COLLEAGUE, [SECRETARY], attached(b"petit", COLLEAGUE)),
    )
    assert isinstance(outcome, Stored)
    assert isinstance(beside, Stored)
    assert cabinet.inbox(DOCTOR)[0].endswith(large)


async def test_more_than_the_scanner_takes_is_not_clean(clamd: Clamd) -> None:
    verdict = await scanner(clamd.unix).examine(pieces(*[bytes(PIECE)] * (LARGEST // PIECE + 16)))
    assert isinstance(verdict, Defer)
    assert verdict.rule is Rule.ANTIVIRUS_UNAVAILABLE


async def test_doctor_hears_which_one_it_is(clamd: Clamd) -> None:
    assert (await ping(clamd.unix)).startswith("ClamAV ")
    assert (await ping(clamd.tcp)).startswith("ClamAV ")


# --- a scanner that is no help --------------------------------------------------------------------

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scanning(answer: Answer) -> AsyncIterator[str]:
    """A scanner of that manner: its address."""
    asked: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(asyncio.current_task())  # type: ignore[arg-type]  # this is one
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # given up by who asked
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in asked:  # from 3.12 on the server waits for them
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


def saying(said: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            await reader.readexactly(size)
        writer.write(said)
        writer.close()
        await writer.wait_closed()

    return answer


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_its_words(cabinet: Cabinet) -> None:
    async with scanning(saying(b"stream: OK\0")) as where:
        assert await scanner(where).examine(pieces(b"a", b"b")) == ACCEPT
    async with scanning(saying(b"stream: A b FOUND FOUND\0")) as where:
        assert await scanner(where).examine(pieces(b"a")) == Refuse(Rule.MESSAGE_VIRUS, "A b FOUND")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"stream: OK",
        b"\0",
        b"OK\0",
        b"stream: OK?\0",
        b"stream: X FOUND or not\0",
        b"INSTREAM size limit exceeded. ERROR\0",
        b"x" * 100_000,
        b"x" * 100_000 + b"\0",
        b"\xff\xfe\0",
    ],
)
@pytest.mark.parametrize("accept", [False, True])
async def test_an_answer_that_is_none(said: bytes, accept: bool) -> None:
    async with scanning(saying(said)) as where:
        antivirus = scanner(where, accept_unscanned=accept)
        verdict = await antivirus.examine(pieces(b"Bonjour."))
    assert verdict == ACCEPT if accept else isinstance(verdict, Defer)
    assert (antivirus.found, antivirus.away) == (0, 1)


async def test_nobody_listens(tmp_path: Path, cabinet: Cabinet) -> None:
    """By the setting mail is put off, or taken."""
    content = attached(b"Bonjour.", COLLEAGUE)
    cabinet.intake.antivirus = scanner(str(tmp_path / "nothing"))
    outcome = await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], content)
    assert isinstance(outcome, Defer)
    assert outcome.rule is Rule.ANTIVIRUS_UNAVAILABLE
    cabinet.intake.antivirus = scanner(str(tmp_path / "nothing"), accept_unscanned=True)
    assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], content), Stored)
    with pytest.raises(OSError):
        await ping(str(tmp_path / "nothing"))


async def test_silence_has_an_end_and_holds_nobody_up(cabinet: Cabinet) -> None:
    async with scanning(silent) as where:
        antivirus = scanner(where, timeout_s=0.1, at_once=1)
        first, waiting = await asyncio.gather(antivirus.examine(pieces(b"a")), antivirus.examine(pieces(b"b")))
        assert isinstance(first, Defer)
        assert isinstance(waiting, Defer), "it had no turn in time"
        assert antivirus.away == 2


async def test_a_message_is_read_no_faster_than_it_is_taken() -> None:
    """A scanner that reads nothing: a message of a hundred megabytes is not gathered in memory before it."""
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(800):
            given += PIECE
            yield bytes(PIECE)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a write transport by its annotation only
        await asyncio.Event().wait()

    async with scanning(deaf) as where:
        assert isinstance(await scanner(where, timeout_s=0.5).examine(endless()), Defer)
    assert given < 20_000_000


async def test_a_content_that_cannot_be_read_is_the_store_s_fault(cabinet: Cabinet) -> None:
    async def unreadable() -> AsyncIterator[bytes]:
        yield b"Bonjour"
        raise StoreUnavailable("gone")

    async with scanning(silent) as where:
        antivirus = scanner(where, accept_unscanned=True)
        with pytest.raises(StoreUnavailable):
            await antivirus.examine(unreadable())
    assert antivirus.away == 0
