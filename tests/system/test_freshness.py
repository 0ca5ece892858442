"""The running service keeps its white list and revocation lists fresh, at once when told (SIGHUP)."""

import asyncio
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mssante.app import Operator
from mssante.config import ConfigError, load
from mssante.domain.clock import SystemClock
from tests.support.operators import command, free_ports
from tests.support.web import Web, answer, serving
from tls.authority import Authority
from tls.certificates import load_crls
from tls.contexts import Contexts


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An initialised operator."""
    said = ("--operator", "Cabinet", "--domain", "cabinet.mssante.example", "--port-base", str(free_ports(7)))
    done = command("init", str(tmp_path / "cabinet"), *said)
    assert done.code == 0, done.err
    return tmp_path / "cabinet"


def configure(directory: Path, **settings: str) -> None:
    """Set keys of the configuration to these TOML values."""
    file = directory / "mssante.toml"
    lines = file.read_text().splitlines()
    for key, value in settings.items():
        (place,) = [number for number, line in enumerate(lines) if line.startswith(f"{key} = ")]
        lines[place] = f"{key} = {value}"
    file.write_text("\n".join(lines) + "\n")


async def asked(web: Web, path: str) -> dict[str, str]:
    """The headers of the next request for a path, waited for; it is answered as before."""
    told, seen = web.answers[path], asyncio.Event()
    assert isinstance(told, bytes)
    before = len(web.requests)

    async def note(writer: asyncio.StreamWriter) -> None:
        web.answers[path] = told
        headers = next(headers for place, headers in web.requests[before:] if place == path)
        unchanged = "if-none-match" in headers and headers["if-none-match"].encode() in told
        writer.write(answer(304) if unchanged else told)
        seen.set()

    web.answers[path] = note
    async with asyncio.timeout(120):
        await seen.wait()
    return next(headers for place, headers in web.requests[before:] if place == path)


async def test_sighup_asks_for_both_and_takes_them_without_a_restart(directory: Path) -> None:
    tls = load(directory / "mssante.toml").tls
    assert tls.crl is not None
    async with serving(Contexts(tls.certificate, tls.key, tls.roots, None).client_server()) as web:
        configure(directory, url=f'"{web.url()}"', crl_urls=f'["{web.url("/ca.crl")}"]')
        authority = Authority(directory / "pki" / "authority")
        held = tls.crl.read_bytes()
        authority.write_crl((77,), time.time_ns() // 1000)
        newer = load_crls(tls.crl)[1].public_bytes(Encoding.DER)
        tls.crl.write_bytes(held)
        web.publish("/liste.xml", (directory / "espace" / "listeblanche.xml").read_bytes(), etag='"liste"')
        web.answers["/ca.crl"] = answer(503)
        operator = Operator(load(directory / "mssante.toml"), SystemClock())
        try:
            first = asyncio.create_task(asked(web, "/liste.xml"))
            await operator.start()
            assert "if-none-match" not in await first
            web.publish("/ca.crl", newer, etag='"crl"')
            for path, etag in (("/liste.xml", '"liste"'), ("/ca.crl", '"crl"')):
                for _ in range(2):
                    # The round before has ended when the next one begins: its validators are those of what was taken.
                    request = asyncio.create_task(asked(web, path))
                    operator.freshen()
                    headers = await request
                assert headers["if-none-match"] == etag
        finally:
            await operator.stop()
    assert [len(crl) for crl in load_crls(tls.crl)] == [0, 1]


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"url": '"http://a.example/liste.xml"'}, "[espace_confiance] url"),
        ({"crl_urls": '["ldap://a.example/"]'}, "[tls] crl_urls"),
        ({"crl_urls": '["http://a.example/a.crl"]', "crl": '""'}, "[tls] crl_urls"),
        ({"alarm_hours": "25", "hard_stop_days": "1"}, "[espace_confiance] alarm_hours"),
    ],
)
def test_settings_that_cannot_be_meant(directory: Path, settings: dict[str, str], place: str) -> None:
    configure(directory, **settings)
    with pytest.raises(ConfigError) as error:
        load(directory / "mssante.toml")
    assert [fault.place for fault in error.value.faults] == [place]
