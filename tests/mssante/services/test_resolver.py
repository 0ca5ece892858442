"""The resolver against a real name server: three kinds of no, one query for many, nothing kept too long."""

import asyncio

import pytest

from mssante.services.resolver import (
    BROKEN_SECONDS,
    NEGATIVE_SECONDS,
    DnsBroken,
    DnsError,
    Mx,
    NoAnswer,
    NoSuchDomain,
    Resolver,
)
from tests.support.name_server import NameServer, serving

ZONE = {
    ("clinique.mssante.fr", "MX"): ["20 MX2.clinique.mssante.fr.", "10 mx1.clinique.mssante.fr."],
    ("mx1.clinique.mssante.fr", "A"): ["192.0.2.1"],
    ("mx1.clinique.mssante.fr", "AAAA"): ["2001:db8::1"],
    ("mx2.clinique.mssante.fr", "A"): ["192.0.2.2", "192.0.2.3"],
    ("silence.mssante.fr", "MX"): ["0 ."],
    ("s1._domainkey.clinique.mssante.fr", "TXT"): ['"v=DKIM1; k=rsa; p=" "MIIB"', '"\\255"'],
}


class Seconds:
    """A clock of seconds that tests move."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> NameServer:
    return NameServer(ZONE)


async def test_mx_by_preference(server: NameServer) -> None:
    async with serving(server) as address:
        records = await Resolver(address).mx("Clinique.mssante.fr.")
    assert records == [Mx(10, "mx1.clinique.mssante.fr"), Mx(20, "mx2.clinique.mssante.fr")]


async def test_the_null_mx_has_no_host(server: NameServer) -> None:
    async with serving(server) as address:
        assert await Resolver(address).mx("silence.mssante.fr") == [Mx(0, "")]


async def test_txt_is_joined_and_any_octet(server: NameServer) -> None:
    async with serving(server) as address:
        found = await Resolver(address).txt("s1._domainkey.clinique.mssante.fr")
    assert sorted(found) == sorted([b"v=DKIM1; k=rsa; p=MIIB", b"\xff"])


async def test_addresses_of_both_families(server: NameServer) -> None:
    async with serving(server) as address:
        resolver = Resolver(address)
        assert await resolver.addresses("mx1.clinique.mssante.fr") == ["2001:db8::1", "192.0.2.1"]
        assert sorted(await resolver.addresses("mx2.clinique.mssante.fr")) == ["192.0.2.2", "192.0.2.3"]
        with pytest.raises(NoAnswer):
            await resolver.addresses("clinique.mssante.fr")
        with pytest.raises(NoSuchDomain):
            await resolver.addresses("nulle-part.mssante.fr")


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("NXDOMAIN", NoSuchDomain),
        ("NOERROR", NoAnswer),
        ("SERVFAIL", DnsBroken),
        ("REFUSED", DnsBroken),
        ("NOTIMP", DnsBroken),
        ("silence", DnsBroken),
        ("garbage", DnsBroken),
    ],
)
async def test_the_kinds_of_no(server: NameServer, how: str, error: type[DnsError]) -> None:
    server.broken["clinique.mssante.fr"] = how
    async with serving(server) as address:
        resolver = Resolver(address, timeout=0.3)
        for question in (resolver.mx, resolver.txt, resolver.addresses):
            with pytest.raises(DnsError) as raised:
                await question("clinique.mssante.fr")
            assert type(raised.value) is error


async def test_nobody_listens() -> None:
    async with serving(NameServer({})) as address:
        pass
    with pytest.raises(DnsBroken):
        await Resolver(address, timeout=0.3).mx("clinique.mssante.fr")


@pytest.mark.parametrize("name", ["x" * 64 + ".fr", "a..b", ".".join(["abcdefgh"] * 30), "é" * 80 + ".fr"])
async def test_a_name_that_cannot_exist_is_not_asked(server: NameServer, name: str) -> None:
    async with serving(server) as address:
        with pytest.raises(NoSuchDomain):
            await Resolver(address).txt(name)
    assert not server.asked


def test_the_name_server_is_given_by_address() -> None:
    with pytest.raises(ValueError, match="an IP address is needed"):
        Resolver(("ns.mssante.fr", 53))


async def test_one_query_for_all_who_ask_the_same(server: NameServer) -> None:
    server.hold = asyncio.Event()
    async with serving(server) as address:
        resolver = Resolver(address)
        asking = [asyncio.create_task(resolver.mx("clinique.mssante.fr")) for _ in range(50)]
        impatient = asyncio.create_task(resolver.mx("clinique.mssante.fr"))
        await server.questioned.wait()
        impatient.cancel()
        server.hold.set()
        answers = await asyncio.gather(*asking)
        assert all(answer == answers[0] for answer in answers)
        with pytest.raises(asyncio.CancelledError):
            await impatient
    assert server.asked["clinique.mssante.fr", "MX"] == 1


async def test_answers_are_kept_as_long_as_their_ttl(server: NameServer) -> None:
    seconds = Seconds()
    server.ttl = 40
    async with serving(server) as address:
        resolver = Resolver(address, monotonic=seconds)
        for now, queries in ((1000, 1), (1039, 1), (1040, 2), (1079, 2)):
            seconds.now = now
            await resolver.mx("clinique.mssante.fr")
            assert server.asked["clinique.mssante.fr", "MX"] == queries


@pytest.mark.parametrize(("how", "kept"), [("NXDOMAIN", NEGATIVE_SECONDS), ("SERVFAIL", BROKEN_SECONDS)])
async def test_a_no_is_kept_for_a_short_while(server: NameServer, how: str, kept: float) -> None:
    seconds = Seconds()
    server.broken["clinique.mssante.fr"] = how
    async with serving(server) as address:
        resolver = Resolver(address, timeout=1, monotonic=seconds)
        with pytest.raises(DnsError):
            await resolver.mx("clinique.mssante.fr")
        server.broken.clear()
        seconds.now += kept - 0.1
        with pytest.raises(DnsError):
            await resolver.mx("clinique.mssante.fr")
        seconds.now += 0.1
        assert len(await resolver.mx("clinique.mssante.fr")) == 2


async def test_the_cache_is_bounded_and_forgets_what_was_not_asked_for_longest(server: NameServer) -> None:
    async with serving(server) as address:
        resolver = Resolver(address, cache_entries=2)
        for host in ("clinique.mssante.fr", "silence.mssante.fr", "clinique.mssante.fr"):
            await resolver.mx(host)
        with pytest.raises(NoSuchDomain):
            await resolver.mx("nulle-part.mssante.fr")
        await resolver.mx("clinique.mssante.fr")
        await resolver.mx("silence.mssante.fr")
    assert server.asked["clinique.mssante.fr", "MX"] == 1
    assert server.asked["silence.mssante.fr", "MX"] == 2
