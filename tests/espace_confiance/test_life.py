"""A white list's life: fetched, confirmed, ageing, stopped and back; and the revocation lists beside it."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from espace_confiance.alarms import certificate_alarms, crl_alarms, liste_alarms
from espace_confiance.contact import Contact, Life, beside, read_contact
from espace_confiance.fetch import FetchFailed
from espace_confiance.holder import EspaceConfiance
from espace_confiance.liste_blanche import ListeRefusee
from espace_confiance.revocation import Revocation
from espace_confiance.upkeep import Upkeep, refresh_liste
from tests.espace_confiance.conftest import ENTRIES, NOW_US, SECOND_US, Signer
from tests.support.clock import FakeClock
from tests.support.web import Web, answer, serving
from tls.authority import Authority, Kind, Subject
from tls.certificates import CertificateFacts, load_crls
from tls.contexts import Contexts
from tls.crl import CrlFacts
from tls.files import replace_file, write_private
from tls.names import DN

HOUR_US, DAY_US = 3600 * SECOND_US, 24 * 3600 * SECOND_US
DOMAIN = "clinique.mssante.example"


@dataclass
class Place:
    """An authority whose web server publishes, and the files of an operator."""

    directory: Path
    authority: Authority
    contexts: Contexts

    @property
    def https(self) -> ssl.SSLContext:
        return self.contexts.https_client()

    @property
    def crl(self) -> Path:
        return self.directory / "held.pem"

    def revocation(self, *urls: str, certificate: str = "cert.pem") -> Revocation:
        place = self.directory
        return Revocation(self.crl, place / "ca.pem", place / certificate, urls, FakeClock(NOW_US))

    def published(self) -> tuple[bytes, bytes]:
        """The CRLs of root and AC ORGANISATIONS as they are at the moment, DER."""
        root, leaf = load_crls(self.authority.crl_path)
        return root.public_bytes(Encoding.DER), leaf.public_bytes(Encoding.DER)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    authority = Authority.create(tmp_path / "pki" / "authority", NOW_US)
    issued = authority.issue(Subject("web.mssante.example", "300065432100018", "ANS"), Kind.SERV, NOW_US)
    replace_file(tmp_path / "cert.pem", issued.chain)
    write_private(tmp_path / "key.pem", issued.key)
    replace_file(tmp_path / "ca.pem", authority.roots)
    return Place(tmp_path, authority, Contexts(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem", None))


@pytest.fixture
async def web(place: Place) -> AsyncIterator[Web]:
    async with serving(place.contexts.client_server()) as web:
        yield web


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_US)


def opened(place: Place, web: Web | None, signer: Signer, clock: FakeClock, **life: int) -> EspaceConfiance:
    ages = Life(**({"url": web.url() if web else "", "alarm_us": DAY_US, "stop_us": 7 * DAY_US} | life))  # type: ignore[arg-type]
    return EspaceConfiance(place.directory / "liste.xml", signer.path, life=ages, clock=clock)


def later(signer: Signer, seconds: int) -> bytes:
    return signer.sign(ENTRIES[0], generated_us=NOW_US + seconds * SECOND_US)


# --- fetched


async def test_the_first_list_comes_from_the_url(place: Place, web: Web, signer: Signer, clock: FakeClock) -> None:
    espace = opened(place, web, signer, clock)
    assert espace.liste is None
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    assert await refresh_liste(espace, place.https)
    assert espace.lists(DOMAIN)
    assert (place.directory / "liste.xml").read_bytes() == signer.sign()
    status = espace.status()
    assert (status["confirmed_us"], status["last_check_us"], status["last_fault"]) == (NOW_US, NOW_US, "")
    assert status["next_refresh_us"] == NOW_US + HOUR_US
    assert status["hard_stop_us"] == NOW_US + 7 * DAY_US
    assert opened(place, web, signer, clock).lists(DOMAIN), "after a restart"


async def test_the_next_request_is_conditional_even_after_a_restart(
    place: Place, web: Web, signer: Signer, clock: FakeClock
) -> None:
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    await refresh_liste(opened(place, web, signer, clock), place.https)
    espace = opened(place, web, signer, clock)
    clock.advance(3600)
    assert not await refresh_liste(espace, place.https)
    assert web.requests[-1][1]["if-none-match"] == '"1"'
    assert espace.confirmed_us == clock.now_us()
    web.publish("/liste.xml", later(signer, 60), etag='"2"')
    assert await refresh_liste(espace, place.https)
    assert not espace.lists(DOMAIN)


async def test_validators_of_another_list_are_not_used(
    place: Place, web: Web, signer: Signer, clock: FakeClock
) -> None:
    """Somebody imports a list by hand: a 304 would confirm one that the server never saw."""
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    espace = opened(place, web, signer, clock)
    await refresh_liste(espace, place.https)
    replace_file(place.directory / "new.xml", later(signer, 30))
    espace.import_file(place.directory / "new.xml")
    web.publish("/liste.xml", later(signer, 60), etag='"1"')
    assert await refresh_liste(espace, place.https)
    assert "if-none-match" not in web.requests[-1][1]


async def test_a_running_service_sees_what_a_command_fetched(
    place: Place, web: Web, signer: Signer, clock: FakeClock
) -> None:
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    serving_ = opened(place, web, signer, clock)
    await refresh_liste(opened(place, web, signer, clock), place.https)
    assert serving_.reload_if_changed()
    clock.advance(600)
    await refresh_liste(opened(place, web, signer, clock), place.https)
    assert not serving_.reload_if_changed()
    assert serving_.confirmed_us == clock.now_us()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("older", "older than the list in force"),
        ("html", "not well-formed|root element"),
        ("cut", "not well-formed"),
        ("impostor", "not the expected one"),
        ("503", "answers 503"),
    ],
)
async def test_what_is_not_a_better_list_changes_nothing(
    place: Place, web: Web, signer: Signer, impostor: Signer, clock: FakeClock, said: str, reason: str
) -> None:
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    espace = opened(place, web, signer, clock)
    await refresh_liste(espace, place.https)
    clock.advance(3600)
    web.answers["/liste.xml"] = {
        "older": answer(200, later(signer, -60)),
        "html": answer(200, b"<html><body>Maintenance</body></html>"),
        "cut": answer(200, later(signer, 60)[:-30]),
        "impostor": answer(200, later(impostor, 60)),
        "503": answer(503),
    }[said]
    with pytest.raises((FetchFailed, ListeRefusee), match=reason):
        await refresh_liste(espace, place.https)
    assert espace.lists(DOMAIN)
    assert espace.confirmed_us == NOW_US
    assert (place.directory / "liste.xml").read_bytes() == signer.sign()
    status = opened(place, web, signer, clock).status()
    assert (status["last_check_us"], status["last_fault"] != "") == (clock.now_us(), True)
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    assert not await refresh_liste(espace, place.https)
    assert espace.fault == ""


# --- ages


async def test_unconfirmed_it_alarms_then_stops_then_comes_back(
    place: Place, web: Web, signer: Signer, clock: FakeClock
) -> None:
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    espace = opened(place, web, signer, clock)
    await refresh_liste(espace, place.https)
    web.answers.clear()
    clock.advance(24 * 3600 - 1)
    assert list(liste_alarms(espace)) == []
    clock.advance(1)
    with pytest.raises(FetchFailed):
        await refresh_liste(espace, place.https)
    (alarm,) = liste_alarms(espace)
    assert not alarm.stops and "answers 404" in alarm.text
    assert espace.lists(DOMAIN)
    clock.advance(6 * 24 * 3600)
    for seen in (espace, opened(place, web, signer, clock)):
        assert seen.liste is None and seen.held is not None
        assert not seen.lists(DOMAIN)
        assert not seen.knows(DN(()))
        assert seen.status()["stopped"] is True and seen.status()["in_force"] is False
        (alarm,) = liste_alarms(seen)
        assert alarm.stops and "nothing is exchanged" in alarm.text
    web.publish("/liste.xml", signer.sign(), etag='"1"')
    assert not await refresh_liste(espace, place.https), "the same list: old, and still the current one"
    assert espace.lists(DOMAIN)


def test_without_url_the_import_counts_and_zero_is_never(place: Place, signer: Signer, clock: FakeClock) -> None:
    path = place.directory / "liste.xml"
    replace_file(path, signer.sign())
    os.utime(path, ns=(0, NOW_US * 1000))
    clock.advance(8 * 24 * 3600)
    assert opened(place, None, signer, clock).liste is None
    assert opened(place, None, signer, clock, stop_us=0, alarm_us=0).liste is not None
    replace_file(place.directory / "again.xml", signer.sign())
    espace = opened(place, None, signer, clock)
    espace.import_file(place.directory / "again.xml")
    assert espace.confirmed_us == clock.now_us()
    assert opened(place, None, signer, clock).liste is not None, "after a restart"


def test_a_confirmation_of_the_future_is_not_believed(place: Place, signer: Signer, clock: FakeClock) -> None:
    path = place.directory / "liste.xml"
    replace_file(path, signer.sign())
    os.utime(path, ns=(0, (NOW_US + 30 * DAY_US) * 1000))
    espace = opened(place, None, signer, clock)
    assert (espace.confirmed_us, espace.liste) == (0, None)


@pytest.mark.parametrize("data", [b"", b"{}x", b"[]", b'{"confirmed_us": "never"}', b"\xff\xfe"])
def test_an_unreadable_memory_is_an_empty_one(tmp_path: Path, data: bytes) -> None:
    beside(tmp_path / "liste.xml").write_bytes(data)
    assert read_contact(beside(tmp_path / "liste.xml")) == Contact()


def test_another_url_is_another_memory(place: Place, signer: Signer, clock: FakeClock) -> None:
    memory = Contact(url="https://old.example/", confirmed_us=NOW_US, fault="x", digest="d", etag='"1"')
    assert memory.validators("https://old.example/", "d").etag == '"1"'
    assert memory.validators("https://new.example/", "d").etag == memory.validators("https://old.example/", "e").etag


# --- revocation lists


async def test_crls_come_from_the_settings_and_are_kept_in_one_file(place: Place, web: Web) -> None:
    web.publish("/root.crl", place.published()[0], etag='"r"')
    web.publish("/ca.crl", place.published()[1])
    revocation = place.revocation(web.url("/root.crl"), web.url("/ca.crl"))
    assert await revocation.refresh(place.https)
    assert revocation.faults == {}
    assert len(load_crls(place.crl)) == 2
    assert not await revocation.refresh(place.https)
    assert [headers.get("if-none-match") for _, headers in web.requests] == [None, None, '"r"', None]
    contexts = Contexts(
        place.directory / "cert.pem", place.directory / "key.pem", place.directory / "ca.pem", place.crl
    )
    assert all(crl.current(NOW_US) for crl in contexts.crls)
    place.authority.write_crl((77,), NOW_US)
    web.publish("/ca.crl", place.published()[1])
    assert await revocation.refresh(place.https)
    assert contexts.reload()
    assert [crl.revoked for crl in contexts.crls] == [0, 1]


async def test_they_come_over_plain_http_from_the_distribution_points(place: Place) -> None:
    async with serving(None) as web:
        web.publish("/ca.crl", place.published()[1])
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(web.url("/ca.crl"))], None, None, None)
        certificate = _with_point(place, point)
        replace_file(place.directory / "own.pem", certificate)
        revocation = place.revocation(certificate="own.pem")
        assert revocation.sources() == (web.url("/ca.crl"),)
        assert await revocation.refresh(place.https)
        assert len(load_crls(place.crl)) == 1


def _with_point(place: Place, point: x509.DistributionPoint) -> bytes:
    from tests.system.auditor import Issuer

    issuer = Issuer.of(place.authority.directory, "organisations")
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(Subject("mx.cabinet.example", "300065432100018", "CABINET").name())
        .issuer_name(issuer.certificate.subject)
        .public_key(issuer.key.public_key())
        .serial_number(5)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
        .sign(issuer.key, issuer.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    return certificate.public_bytes(Encoding.PEM)


async def test_one_bad_source_does_not_hold_up_the_others(place: Place, web: Web) -> None:
    web.publish("/html", b"<html>Maintenance</html>")
    web.publish("/root.crl", place.published()[0])
    revocation = place.revocation(web.url("/html"), web.url("/gone"), web.url("/root.crl"))
    assert await revocation.refresh(place.https)
    assert [key.rpartition("/")[2] for key in revocation.faults] == ["html", "gone"]
    assert "no readable CRL" in revocation.faults[web.url("/html")]
    assert len(load_crls(place.crl)) == 1


async def test_an_older_crl_is_not_taken_and_a_damaged_file_is_made_anew(place: Place, web: Web) -> None:
    old = place.published()[1]
    place.authority.write_crl((77,), NOW_US)
    web.publish("/ca.crl", place.published()[1])
    revocation = place.revocation(web.url("/ca.crl"))
    await revocation.refresh(place.https)
    held = place.crl.read_bytes()
    web.publish("/ca.crl", old)
    assert not await revocation.refresh(place.https)
    assert "older than the one held" in revocation.faults[web.url("/ca.crl")]
    assert place.crl.read_bytes() == held
    place.crl.write_bytes(held[:-100])
    web.publish("/ca.crl", place.published()[1])
    assert await revocation.refresh(place.https)
    assert place.crl.read_bytes() == held


# --- upkeep and alarms


async def test_upkeep_refreshes_both_and_again_when_hurried(
    place: Place, web: Web, signer: Signer, clock: FakeClock
) -> None:
    web.publish("/liste.xml", signer.sign())
    web.publish("/ca.crl", place.published()[1])
    espace = opened(place, web, signer, clock)
    changes: asyncio.Queue[None] = asyncio.Queue()
    revocation = place.revocation(web.url("/ca.crl"))
    upkeep = Upkeep(
        espace, revocation, lambda: place.https, crl_refresh_s=3600, on_change=lambda: changes.put_nowait(None)
    )
    running = asyncio.create_task(upkeep.run())
    async with asyncio.timeout(120):
        await changes.get()
        await changes.get()
        assert espace.lists(DOMAIN) and place.crl.exists()
        web.publish("/liste.xml", later(signer, 60))
        upkeep.hurry()
        await changes.get()
    assert not espace.lists(DOMAIN)
    assert upkeep.failures == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def facts(days: int) -> CertificateFacts:
    return CertificateFacts(DN(()), DN(()), 1, "", 0, NOW_US + days * DAY_US)


@pytest.mark.parametrize(
    ("days", "told"),
    [(91, None), (90, (False, "under 90")), (61, (False, "under 90")), (60, (False, "under 60")),
     (30, (True, "under 30")), (0, (True, "under 30")), (-1, (True, "expired on"))],
)  # fmt: skip
def test_the_certificate_is_announced_90_60_and_30_days_ahead(days: int, told: tuple[bool, str] | None) -> None:
    found = [(alarm.urgent, alarm.text) for alarm in certificate_alarms(facts(days), NOW_US)]
    if told is None:
        assert found == []
    else:
        ((urgent, text),) = found
        assert urgent == told[0] and told[1] in text


@pytest.mark.parametrize("required", [True, False])
def test_a_crl_is_announced_before_it_lapses(required: bool) -> None:
    crls = (
        CrlFacts("GOOD", 0, NOW_US + 3 * DAY_US),
        CrlFacts("SOON", 0, NOW_US + DAY_US),
        CrlFacts("LATE", 0, NOW_US - 1),
        CrlFacts("NONE", 0, 0, held=False),
    )
    soon, late, none = crl_alarms(crls, required=required, ahead_us=2 * DAY_US, now_us=NOW_US)
    assert ("SOON" in soon.text, soon.urgent, soon.stops) == (True, False, False)
    for alarm, name in ((late, "LATE"), (none, "NONE")):
        assert (name in alarm.text, alarm.urgent, alarm.stops) == (True, True, required)
        assert ("is refused" if required else "pass unchecked") in alarm.text
