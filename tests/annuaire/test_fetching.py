"""The extraction fetched over https: the dated name, what is not new, and what goes wrong on the way."""

import asyncio
import io
import ssl
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from annuaire.extraction import ExtractionReading
from annuaire.source import Entry, Extraction, SourceError, Unchanged
from espace_confiance.development import Operator, create_trust_space
from mssante.domain.clock import SystemClock
from tests.annuaire.fictive import LINES
from tests.support.web import Web, answer, serving

NAME = "Extraction_Correspondance_MSSante_202511030900"


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{NAME}.txt", "\n".join(LINES))
    return packed.getvalue()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Web, Extraction]]:
    operator = Operator("Cabinet Exemple", "mx.cabinet.test", ("cabinet.test",), "127.0.0.1", 2500)
    pki = create_trust_space(tmp_path / "pki", operator, now_us=SystemClock().now_us())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.certificate, pki.key)
    async with serving(context) as web:
        yield web, Extraction(url=web.url("/extraction"), roots=str(pki.roots))


async def read(spec: Extraction, since: str = "") -> tuple[str, int]:
    """(cursor, lines)"""
    reading = ExtractionReading(spec)
    said = await asyncio.to_thread(lambda: list(reading.read(since)))
    return reading.cursor, sum(isinstance(one, Entry) for one in said)


def offered(body: bytes) -> bytes:
    return answer(200, body, content_disposition=f'attachment; filename="{NAME}.zip"')


async def test_a_new_file_is_read_and_a_known_one_left_alone(served: tuple[Web, Extraction]) -> None:
    web, spec = served
    web.answers["/extraction"] = offered(zipped())
    assert await read(spec) == (f"{NAME}.zip", 3)
    assert await read(spec, "Extraction_Correspondance_MSSante_202511020900.zip") == (f"{NAME}.zip", 3)
    with pytest.raises(Unchanged):
        await read(spec, f"{NAME}.zip")


@pytest.mark.parametrize(
    ("said", "told", "again"),
    [
        (answer(404), "answers 404", False),
        (answer(503), "answers 503", True),
        (offered(zipped()[:-40]), "damaged zip file", False),
        (offered(zipped())[:-40], "extraction", True),
        (offered(b"<html>maintenance</html>"), "column 1", False),
    ],
)
async def test_what_goes_wrong_is_named(served: tuple[Web, Extraction], said: bytes, told: str, again: bool) -> None:
    web, spec = served
    web.answers["/extraction"] = said
    with pytest.raises(SourceError, match=told) as error:
        await read(spec)
    assert error.value.again is again


async def test_a_redirection_is_followed_over_https_alone(served: tuple[Web, Extraction]) -> None:
    web, spec = served
    web.answers["/there"] = offered(zipped())
    web.answers["/extraction"] = answer(302, location=web.url("/there"))
    assert await read(spec) == (f"{NAME}.zip", 3)
    web.answers["/extraction"] = answer(302, location=web.url("/there").replace("https", "http"))
    with pytest.raises(SourceError, match="sends us on to http://localhost"):
        await read(spec)
    assert [path for path, _ in web.requests] == ["/extraction", "/there", "/extraction"]


async def test_a_server_of_another_authority_is_refused(served: tuple[Web, Extraction], tmp_path: Path) -> None:
    web, _ = served
    operator = Operator("Autre Exemple", "mx.autre.test", ("autre.test",), "127.0.0.1", 2500)
    other = create_trust_space(tmp_path / "other", operator, now_us=SystemClock().now_us())
    with pytest.raises(SourceError, match="certificate verify failed"):
        await read(Extraction(url=web.url("/extraction"), roots=str(other.roots)))
    assert web.requests == []
