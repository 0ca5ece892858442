"""`mssante doctor` on DKIM and antivirus: which key signs, what the DNS has of it, what is to be published."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mssante.mime.dkim import key_record, load_signing_key
from tests.mssante.cli.conftest import Operator
from tests.support.name_server import NameServer, serving
from tests.support.operators import free_ports

DOMAINS = ("cabinet.test", "patient.mssante.fr")


@contextmanager
def name_server(zone: dict[tuple[str, str], list[str]], broken: dict[str, str]) -> Iterator[str]:
    """host:port of one that runs beside the command."""
    ready, stop, where = threading.Event(), asyncio.Event(), ""

    async def serve() -> None:
        nonlocal where
        async with serving(NameServer(zone, broken)) as (host, port):
            where = f"{host}:{port}"
            ready.set()
            await stop.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(120)
        yield where
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def findings(operator: Operator, check: str = "dkim") -> list[tuple[str, str]]:
    return [(one["verdict"], one["finding"]) for one in operator("doctor", "--json").json if one["check"] == check]


def configure(operator: Operator, *changes: tuple[str, str]) -> None:
    file = operator.directory / "mssante.toml"
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)


def record(key: Path) -> str:
    return key_record(load_signing_key(key.read_bytes()))


def published(text: str) -> list[str]:
    """As a zone file has it: strings of at most 255 octets."""
    return [" ".join(f'"{text[start : start + 200]}"' for start in range(0, len(text), 200))]


def test_published_keys_are_well(operator: Operator) -> None:
    key = record(operator.directory / "pki" / "dkim.key")
    zone = {(f"mssante._domainkey.{domain}", "TXT"): published(key) for domain in DOMAINS}
    with name_server(zone, {}) as server:
        configure(operator, ('server = ""', f'server = "{server}"'))
        [(verdict, finding)] = findings(operator)
    assert verdict == "ok"
    assert finding == "mssante signs, and is published for cabinet.test, patient.mssante.fr"


def test_what_is_missing_is_told_as_it_must_be_published(operator: Operator) -> None:
    """The record in the DNS is another key's for one domain, and nobody answers for the other."""
    directory = operator.directory / "pki"
    key = record(directory / "dkim.key")
    other = key_record(ed25519.Ed25519PrivateKey.generate())
    names = [f"mssante._domainkey.{domain}" for domain in DOMAINS]
    with name_server({(names[0], "TXT"): published(other)}, {names[1]: "SERVFAIL"}) as server:
        configure(operator, ('server = ""', f'server = "{server}"'))
        found = findings(operator)
    assert found == [
        ("warn", f"the DNS does not answer; to be published: {names[1]} TXT {key}"),
        ("warn", f"another key is published; to be published: {names[0]} TXT {key}"),
    ]


def test_the_next_key_is_announced_before_it_signs(operator: Operator) -> None:
    """Rotation: its record is asked for while the old one still signs, then they change places."""
    directory = operator.directory / "pki"
    new = ed25519.Ed25519PrivateKey.generate()
    (directory / "2026b.key").write_bytes(new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    zone = {(f"mssante._domainkey.{domain}", "TXT"): published(record(directory / "dkim.key")) for domain in DOMAINS}
    with name_server(zone, {}) as server:
        configure(
            operator, ('server = ""', f'server = "{server}"'), ("#other_keys = []", 'other_keys = ["pki/2026b.key"]')
        )
        found = findings(operator)
        assert found[0] == ("ok", "mssante signs, and is published for cabinet.test, patient.mssante.fr")
        assert found[1:] == [
            ("warn", f"not in the DNS; to be published: 2026b._domainkey.{domain} TXT {key_record(new)}")
            for domain in DOMAINS
        ]
        zone.update({(f"2026b._domainkey.{domain}", "TXT"): published(key_record(new)) for domain in DOMAINS})
        assert findings(operator)[1][0] == "ok"
        shutil.copy(directory / "dkim.key", directory / "mssante.key")
        configure(
            operator,
            ('#selector = "mssante"', 'selector = "2026b"'),
            ('#key = "pki/dkim.key"', 'key = "pki/2026b.key"'),
            ('other_keys = ["pki/2026b.key"]', 'other_keys = ["pki/mssante.key"]'),
        )
        assert [finding.partition(",")[0] for _, finding in findings(operator)] == [
            "2026b signs",
            "mssante does not sign",
        ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("#other_keys = []", 'other_keys = ["pki/mssante.key"]')], "names two keys"),
        ([("#other_keys = []", 'other_keys = ["pki/Clé.key"]')], "cannot be a name in the DNS"),
        ([('#on_failure = "note"', 'on_failure = "refuse"'), ("#verify = true", "verify = false")], "refuses nothing"),
        ([('#on_failure = "note"', 'on_failure = "bounce"')], "on_failure"),
        ([('#socket = ""', 'socket = "clamd"')], "host:port"),
    ],
)
def test_settings_that_cannot_be_meant(operator: Operator, changes: list[tuple[str, str]], words: str) -> None:
    configure(operator, *changes)
    ended = operator("doctor")
    assert ended.code == 2
    assert words in ended.err


def test_a_scanner_that_is_away(operator: Operator) -> None:
    assert findings(operator, "antivirus") == []
    port = free_ports(1)
    configure(operator, ('#socket = ""', f'socket = "127.0.0.1:{port}"'))
    [(verdict, finding)] = findings(operator, "antivirus")
    assert verdict == "fault"
    assert "start clamd" in finding
