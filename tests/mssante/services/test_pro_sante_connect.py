"""Tokens of Pro Santé Connect, asked of a real issuer on loopback: whose count, whose do not, and when it is away."""

import json
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from espace_confiance.development import TrustSpace
from mssante.domain.identifiers import Adeli, Rpps
from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.services.pro_sante_connect import Issuer, ProSanteConnect
from tests.mssante.services.conftest import CABINET
from tests.support.clock import FakeClock
from tests.support.pro_sante_connect import CLIENT, DISCOVERY, REALM, SECRET, SOFTWARE, FakeConnect, new_key, serving
from tls.contexts import Contexts, https_client

RPPS = "80000000010"
NATIONAL = f"8{RPPS}"
NOW_US = FakeClock().now_us()
SECOND = 1_000_000
MODES = ["introspection", "keys"]


@pytest.fixture(scope="session")
def web_server(space: tuple[TrustSpace, TrustSpace]) -> ssl.SSLContext:
    own = space[0]
    return Contexts(own.certificate, own.key, own.roots, None).client_server()


@pytest.fixture
def fake(web_server: ssl.SSLContext) -> Iterator[FakeConnect]:
    with serving(web_server, FakeConnect(now_s=NOW_US // SECOND)) as running:
        yield running


@pytest.fixture(params=MODES)
def issuer(request: pytest.FixtureRequest, fake: FakeConnect) -> Issuer:
    client = (CLIENT, SECRET) if request.param == "introspection" else ("", "")
    return Issuer(fake.issuer, frozenset({SOFTWARE}), *client, timeout_s=2)


@pytest.fixture
async def connect(issuer: Issuer, space: tuple[TrustSpace, TrustSpace]) -> AsyncIterator[ProSanteConnect]:
    one = ProSanteConnect(issuer, https_client(space[0].roots))
    yield one
    await one.close()


async def test_a_token_names_its_professional(connect: ProSanteConnect, fake: FakeConnect) -> None:
    assert await connect.identify(fake.token(NATIONAL), NOW_US) == Rpps(RPPS)
    assert await connect.identify(fake.token("02A1234567"), NOW_US) == Adeli("2A1234567")
    assert await connect.identify(fake.token("8" + "10003456789"), NOW_US) == Rpps("10003456789")  # ANS, key wrong
    long = fake.token(NATIONAL, other="x" * 3000)
    assert await connect.identify(long, NOW_US) == Rpps(RPPS)
    said = {"SubjectNameID": NATIONAL, "preferred_username": "martin"}
    assert await connect.identify(fake.token(NATIONAL, **said), NOW_US) == Rpps(RPPS)
    assert fake.asked.count(DISCOVERY) == 1


async def test_userinfo_is_asked_when_the_token_does_not_say(connect: ProSanteConnect, fake: FakeConnect) -> None:
    assert await connect.identify(fake.token(NATIONAL, preferred_username=None), NOW_US) == Rpps(RPPS)
    path = REALM + "/protocol/openid-connect/userinfo"
    assert fake.asked.count(path) == 1
    fake.answers[path] = 200, json.dumps({"sub": "f:9f1c:other", "SubjectNameID": NATIONAL}).encode()
    refused = await connect.identify(fake.token(NATIONAL, preferred_username=None, jti="2"), NOW_US)
    assert refused == Refuse(Rule.AUTH_REFUSED, "token: userinfo speaks of somebody else")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": NOW_US // SECOND - 61}, "expired"),
        ({"exp": "soon"}, "exp or nbf is no time"),
        ({"exp": float("nan")}, "exp or nbf is no time"),
        ({"nbf": NOW_US // SECOND + 61}, "not valid yet"),
        ({"iss": "https://auth.example/realm"}, "of another issuer"),
        ({"azp": "another"}, "made for other software"),
        ({"azp": None, "aud": ["account", 3]}, "made for other software"),
        ({"typ": "ID"}, "no access token"),
        ({"typ": "Refresh"}, "no access token"),
        ({"preferred_username": "ANS202600001"}, "SubjectNameID is neither 8 + RPPS nor 0 + ADELI"),
        ({"preferred_username": RPPS}, "SubjectNameID is neither 8 + RPPS nor 0 + ADELI"),
        ({"preferred_username": 8}, "SubjectNameID is neither 8 + RPPS nor 0 + ADELI"),
    ],
)
async def test_a_token_that_opens_nothing(
    connect: ProSanteConnect, fake: FakeConnect, changes: dict[str, Any], why: str
) -> None:
    assert await connect.identify(fake.token(NATIONAL, **changes), NOW_US) == Refuse(Rule.AUTH_REFUSED, f"token: {why}")


async def test_clocks_may_differ_by_a_minute_and_audiences_may_be_lists(
    connect: ProSanteConnect, fake: FakeConnect
) -> None:
    now_s = NOW_US // SECOND
    token = fake.token(NATIONAL, azp=None, aud=["account", SOFTWARE], exp=now_s - 59, nbf=now_s + 59)
    assert await connect.identify(token, NOW_US) == Rpps(RPPS)
    connect.issuer = replace(connect.issuer, audiences=frozenset({"*"}))
    assert await connect.identify(fake.token(NATIONAL, azp="another"), NOW_US) == Rpps(RPPS)


@pytest.mark.parametrize("token", ["", "x y", "é", "a" * 16_385, "x\r\ny"])
async def test_what_is_no_token_is_asked_of_nobody(connect: ProSanteConnect, fake: FakeConnect, token: str) -> None:
    assert await connect.identify(token, NOW_US) == Refuse(Rule.AUTH_REFUSED, "not a bearer token")
    assert fake.asked == []


@pytest.mark.parametrize("issuer", ["keys"], indirect=True)
async def test_signatures_of_others_none_and_shared_secrets(connect: ProSanteConnect, fake: FakeConnect) -> None:
    thief = new_key("k1")
    for token in (
        fake.token(NATIONAL, key=thief),
        fake.by_secret(NATIONAL, fake.keys[0].as_pem(private=False)),
        fake.by_secret(NATIONAL, None),
        fake.token(NATIONAL)[:-8],
        fake.token(NATIONAL).replace(".", ""),
        fake.token(NATIONAL, exp=None),
        fake.token(NATIONAL, iss=None),
    ):
        refused = await connect.identify(token, NOW_US)
        assert isinstance(refused, Refuse), token
        assert token not in str(refused)


@pytest.mark.parametrize("issuer", ["keys"], indirect=True)
async def test_keys_that_change_are_asked_for_but_not_at_every_stranger(
    connect: ProSanteConnect, fake: FakeConnect
) -> None:
    certs = REALM + "/protocol/openid-connect/certs"
    assert await connect.identify(fake.token(NATIONAL), NOW_US) == Rpps(RPPS)
    fake.keys.insert(0, new_key("k2"))
    later = NOW_US + 30 * SECOND
    assert await connect.identify(fake.token(NATIONAL), later) == Rpps(RPPS)
    assert fake.asked.count(certs) == 2
    for number in range(3):
        stranger = fake.token(NATIONAL, key=new_key(f"s{number}"))
        assert await connect.identify(stranger, later) == Refuse(
            Rule.AUTH_REFUSED, "token: signed with a key that the issuer does not publish"
        )
    assert fake.asked.count(certs) == 2
    fake.keys = [new_key("k3")]
    assert await connect.identify(fake.token(NATIONAL, exp=(later // SECOND) + 7200), later + 3600 * SECOND) == Rpps(
        RPPS
    )


@pytest.mark.parametrize("issuer", ["introspection"], indirect=True)
async def test_a_verdict_is_remembered_for_a_minute_and_not_beyond_the_token(
    connect: ProSanteConnect, fake: FakeConnect
) -> None:
    introspect = REALM + "/protocol/openid-connect/token/introspect"
    token = fake.token(NATIONAL)
    for _ in range(3):
        assert await connect.identify(token, NOW_US) == Rpps(RPPS)
    assert fake.asked.count(introspect) == 1
    fake.ended.add(token)
    assert await connect.identify(token, NOW_US + 59 * SECOND) == Rpps(RPPS)
    refused = Refuse(Rule.AUTH_REFUSED, "token: not active")
    assert await connect.identify(token, NOW_US + 60 * SECOND) == refused
    assert await connect.identify(token, NOW_US + 61 * SECOND) == refused
    assert fake.asked.count(introspect) == 2
    short = fake.token(NATIONAL, exp=NOW_US // SECOND + 5)
    await connect.identify(short, NOW_US)
    await connect.identify(short, NOW_US + 5 * SECOND)
    assert fake.asked.count(introspect) == 4


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (DISCOVERY, (500, b"{}")),
        (DISCOVERY, (302, b"{}")),
        (DISCOVERY, (200, b"no json")),
        (DISCOVERY, (200, b"[" * 200_000)),
        (DISCOVERY, (200, b"[]")),
        (DISCOVERY, (200, b'{"issuer": "https://other.example"}')),
        (DISCOVERY, (200, b'{"a": "' + b"x" * 300_000 + b'"}')),
        ("endpoint", (401, b"{}")),
        ("endpoint", (200, b"\xff")),
    ],
)
async def test_an_issuer_that_answers_nonsense(
    connect: ProSanteConnect, fake: FakeConnect, path: str, answer: tuple[int, bytes]
) -> None:
    for one in (DISCOVERY,) if path == DISCOVERY else ("/certs", "/token/introspect"):
        fake.answers[one if one == DISCOVERY else f"{REALM}/protocol/openid-connect{one}"] = answer
    verdict = await connect.identify(fake.token(NATIONAL), NOW_US)
    assert isinstance(verdict, Defer)
    assert verdict.rule is Rule.AUTH_UNAVAILABLE
    # What it publishes is asked for again after a moment, not for each token; what it says of one token is of that one.
    asked = [one for one in fake.asked if not one.endswith("/introspect")]
    assert isinstance(await connect.identify(fake.token(NATIONAL, jti="2"), NOW_US + 1), Defer)
    assert [one for one in fake.asked if not one.endswith("/introspect")] == asked
    fake.answers.clear()
    if path != DISCOVERY and connect.issuer.client_id:
        assert await connect.identify(fake.token(NATIONAL, jti="3"), NOW_US + 2) == Rpps(RPPS)
    assert await connect.identify(fake.token(NATIONAL, jti="4"), NOW_US + 5 * SECOND) == Rpps(RPPS)


async def test_an_issuer_that_is_away_is_left_alone_for_a_moment(
    connect: ProSanteConnect, fake: FakeConnect, web_server: ssl.SSLContext
) -> None:
    away = FakeConnect(port=1, keys=fake.keys, now_s=fake.now_s)
    connect.issuer = replace(connect.issuer, issuer=away.issuer)
    verdict = await connect.identify(away.token(NATIONAL), NOW_US)
    assert verdict == Defer(Rule.AUTH_UNAVAILABLE, "Pro Sante Connect: ConnectError")
    connect.issuer = replace(connect.issuer, issuer=fake.issuer)
    assert isinstance(await connect.identify(fake.token(NATIONAL), NOW_US), Defer)
    assert fake.asked == []
    assert await connect.identify(fake.token(NATIONAL), NOW_US + 5 * SECOND) == Rpps(RPPS)


async def test_an_issuer_under_another_authority_is_not_believed(issuer: Issuer, fake: FakeConnect) -> None:
    connect = ProSanteConnect(issuer, https_client(None))
    assert isinstance(await connect.identify(fake.token(NATIONAL), NOW_US), Defer)
    assert fake.asked == []
    await connect.close()


def test_the_issuer_shows_no_secret() -> None:
    shown = repr(Issuer("https://psc.example", frozenset({CABINET}), CLIENT, SECRET))
    assert SECRET not in shown
