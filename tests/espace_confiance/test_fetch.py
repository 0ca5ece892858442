"""One GET against servers of every kind; whatever they do ends in time, in bounds, and in FetchFailed or octets."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espace_confiance.fetch import Fetched, FetchFailed, Validators, fetch, url_fault
from tests.support.web import Web, answer, serving
from tls.authority import Authority, Kind, Subject
from tls.contexts import Contexts
from tls.files import replace_file, write_private


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """A web server of the authority, and a client that trusts it; its certificate names localhost."""
    place, now_us = tmp_path_factory.mktemp("web"), time.time_ns() // 1000
    authority = Authority.create(place / "authority", now_us)
    issued = authority.issue(Subject("web.mssante.example", "300065432100018", "ANS"), Kind.SERV, now_us)
    replace_file(place / "cert.pem", issued.chain)
    write_private(place / "key.pem", issued.key)
    replace_file(place / "ca.pem", authority.roots)
    return Contexts(place / "cert.pem", place / "key.pem", place / "ca.pem", None)


@pytest.fixture
async def web(contexts: Contexts) -> AsyncIterator[Web]:
    async with serving(contexts.client_server()) as web:
        yield web


async def got(web: Web, contexts: Contexts, path: str = "/", *, seconds: float = 20, **how: Validators) -> Fetched:
    return await fetch(web.url(path), contexts.https_client(), max_bytes=1000, seconds=seconds, **how)


async def test_the_octets_and_what_makes_the_next_request_conditional(web: Web, contexts: Contexts) -> None:
    web.answers["/"] = answer(200, b"octets", '"v1"', last_modified="Fri, 28 Feb 2025 15:42:07 GMT")
    fetched = await got(web, contexts)
    assert fetched == Fetched(b"octets", Validators('"v1"', "Fri, 28 Feb 2025 15:42:07 GMT"))
    assert (await got(web, contexts, validators=fetched.validators)).body is None
    first, second = (headers for _, headers in web.requests)
    assert "if-none-match" not in first and "if-modified-since" not in first
    assert (second["if-none-match"], second["if-modified-since"]) == ('"v1"', "Fri, 28 Feb 2025 15:42:07 GMT")
    assert first["accept-encoding"] == "identity"
    assert first["host"] == f"localhost:{web.port}"


async def test_a_body_in_chunks_or_until_the_end_of_the_connection(web: Web, contexts: Contexts) -> None:
    web.answers["/chunks"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    web.answers["/close"] = b"HTTP/1.0 200 OK\r\n\r\nabcde"
    web.answers["/interim"] = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + answer(200, b"abcde")
    for path in web.answers:
        assert (await got(web, contexts, path)).body == b"abcde"


async def test_a_redirection_on_the_same_host_is_followed(web: Web, contexts: Contexts) -> None:
    web.answers["/old"] = answer(301, location="/new?a=b")
    web.answers["/new?a=b"] = answer(200, b"octets")
    assert (await got(web, contexts, "/old")).body == b"octets"


HOSTILE = {
    "not found": (answer(404), "answers 404"),
    "server error": (answer(500, b"<html>"), "answers 500"),
    "304 unasked": (answer(304), "answers 304"),
    "announced too large": (answer(200, b"", content_length="1001"), "1001 octets announced"),
    "too large": (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001, "more than the 1000 octets"),
    "absurd length": (answer(200, b"x", content_length="9" * 400), "octets announced|not a whole HTTP answer"),
    "negative length": (answer(200, b"x", content_length="-1"), "not a whole HTTP answer"),
    "two lengths": (
        answer(200, b"x").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"),
        "not a whole HTTP answer",
    ),
    "shorter than announced": (answer(200, b"x" * 10, content_length="20"), "not a whole HTTP answer"),
    "cut in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nabc", "not a whole HTTP answer"),
    "no HTTP": (b"220 smtp.example ESMTP\r\n", "not a whole HTTP answer"),
    "nothing": (b"", "not a whole HTTP answer"),
    "endless head": (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000, "not a whole HTTP answer"),
    "gzip bomb": (answer(200, gzip.compress(bytes(100_000)), content_encoding="gzip"), "encoding gzip"),
    "to another host": (answer(302, location="https://127.0.0.1/"), "redirected to https://127.0.0.1/, which is not"),
    "to clear text": (answer(302, location="http://localhost/"), "redirected to http://localhost/, which is not"),
    "to a file": (answer(302, location="file:///etc/passwd"), "which is not followed"),
    "to nowhere": (answer(302, location="https://[::1"), "cannot be read"),
    "to a user": (answer(302, location="https://a:b@localhost/"), "neither a user name"),
    "in circles": (answer(302, location="/"), "redirected more than 3 times"),
    "terminal escapes": (answer(302, location="https://x/%1b[2J"), "redirected to"),
}


@pytest.mark.parametrize(("said", "reason"), HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_or_broken_server(web: Web, contexts: Contexts, said: bytes, reason: str) -> None:
    web.answers["/"] = said
    with pytest.raises(FetchFailed, match=reason) as failed:
        await got(web, contexts)
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 500


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"], ids=["silent", "stalls"])
async def test_a_slow_server_is_left(web: Web, contexts: Contexts, start: bytes) -> None:
    left = asyncio.Event()

    async def stall(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await left.wait()

    web.answers["/"] = stall
    try:
        with pytest.raises(FetchFailed, match=r"no complete answer in 0\.2 s"):
            await got(web, contexts, seconds=0.2)
    finally:
        left.set()


async def test_an_endless_body_is_left(web: Web, contexts: Contexts) -> None:
    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
            await writer.drain()

    web.answers["/"] = pour
    with pytest.raises(FetchFailed, match="more than the 1000 octets"):
        await got(web, contexts)


async def test_a_server_of_another_authority_or_name_is_not_spoken_to(web: Web, contexts: Contexts) -> None:
    web.publish("/", b"octets")
    with pytest.raises(FetchFailed, match="certificate is refused: unable to get local issuer certificate"):
        await fetch(web.url("/"), ssl.create_default_context(), max_bytes=1000, seconds=20)
    assert web.requests == []


async def test_the_name_of_the_host_counts(contexts: Contexts) -> None:
    """An operator's certificate is of the same authority and for servers: it must not serve the list of the ANS."""
    async with serving(contexts.client_server(), "127.0.0.2") as web:
        web.publish("/", b"octets")
        with pytest.raises(FetchFailed, match="certificate is refused: IP address mismatch"):
            await got(web, contexts)
        assert web.requests == []


async def test_nobody_there(contexts: Contexts) -> None:
    with pytest.raises(FetchFailed, match=r"http://127\.0\.0\.1:1/: Connection refused"):
        await fetch("http://127.0.0.1:1/", contexts.https_client(), max_bytes=1, seconds=20)


@pytest.mark.parametrize(
    "url",
    ["", "liste.xml", "http://a.example/", "ftp://a.example/", "https://", "https://a b/", "https://a:99999/",
     "https://é.example/", "https://u:p@a.example/", "https://a.example/#x", "https://[::1",
     "https://a.example/\r\nX: y"],
)  # fmt: skip
def test_a_url_that_cannot_be_meant_is_told(url: str) -> None:
    assert url_fault(url)


def test_the_official_url_is_none_of_them() -> None:
    assert url_fault("https://espacedeconfiance.mssante.fr/listeblanchemssante.xml") == ""
    assert url_fault("http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG.crl", ("http", "https")) == ""


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\n", b"Location: /x\r\n", b"Content-Length: 3\r\n", b"\r\n",
             b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"abc"]
        ),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES)
def test_any_octets_end_as_fetched_or_failed(contexts: Contexts, pieces: list[bytes]) -> None:
    async def once() -> None:
        async with serving(None) as web:
            web.answers["/"] = b"".join(pieces)
            try:
                ended = await got(web, contexts)
            except FetchFailed as failed:
                told.append(str(failed))
            else:
                told.append("octets")
                assert ended.body is not None and len(ended.body) <= 1000

    told: list[str] = []
    asyncio.run(once())
    assert len(told) == 1 and told[0].isprintable()
