"""Where mail goes: static routes, MX by preference, and the faults of DNS told apart."""

import pytest

from mssante.services.resolver import Mx, Resolver
from smtp_out.routing import MOST_HOPS, MOST_HOSTS, Hop, NoRoute, Routing
from tests.support.name_server import NameServer, serving

WRONG_HOST = "\\252" * 40 + ".mssante.fr"
"""DNS can say it; TLS and mail logs cannot."""
ZONE = {
    ("clinique.mssante.fr", "MX"): [
        "10 mx1.clinique.mssante.fr.",
        "20 mx2.clinique.mssante.fr.",
        "20 mx3.clinique.mssante.fr.",
        "5 mx0.clinique.mssante.fr.",
    ],
    ("mx1.clinique.mssante.fr", "A"): ["192.0.2.1"],
    ("mx1.clinique.mssante.fr", "AAAA"): ["2001:db8::1"],
    ("mx2.clinique.mssante.fr", "A"): ["192.0.2.2"],
    ("mx3.clinique.mssante.fr", "A"): ["192.0.2.3"],
    ("sans-mx.mssante.fr", "A"): ["192.0.2.9"],
    ("rien.mssante.fr", "TXT"): ['"nothing here"'],
    ("muet.mssante.fr", "MX"): ["0 ."],
    ("perdu.mssante.fr", "MX"): ["10 nulle-part.mssante.fr."],
    ("tordu.mssante.fr", "MX"): [f"1 {WRONG_HOST}.", "20 mx2.clinique.mssante.fr."],
    ("tout-tordu.mssante.fr", "MX"): [f"1 {WRONG_HOST}."],
    ("trop.mssante.fr", "MX"): [f"{n} perdu{n}.mssante.fr." for n in range(1, 30)],
    (WRONG_HOST, "A"): ["192.0.2.8"],
    ("nombreux.mssante.fr", "MX"): ["10 beaucoup.mssante.fr."],
    ("beaucoup.mssante.fr", "A"): [f"192.0.2.{n}" for n in range(1, 30)],
}


def backwards(records: list[Mx]) -> None:
    """Stands for chance."""
    records.sort(key=lambda record: record.host, reverse=True)


async def hops(server: NameServer, domain: str, routes: dict[str, tuple[str, int]] | None = None) -> list[Hop]:
    async with serving(server) as address:
        routing = Routing(lambda name: (routes or {}).get(name), Resolver(address, timeout=0.3), shuffle=backwards)
        return [hop async for hop in routing.hops(domain)]


async def refusal(server: NameServer, domain: str) -> str:
    with pytest.raises(NoRoute) as raised:
        await hops(server, domain)
    return str(raised.value.reply)


async def test_mx_by_preference_and_chance_both_families() -> None:
    """mx0 is preferred but has no address: the next ones are tried."""
    assert await hops(NameServer(ZONE), "clinique.mssante.fr") == [
        Hop("mx1.clinique.mssante.fr", "2001:db8::1", 25),
        Hop("mx1.clinique.mssante.fr", "192.0.2.1", 25),
        Hop("mx3.clinique.mssante.fr", "192.0.2.3", 25),
        Hop("mx2.clinique.mssante.fr", "192.0.2.2", 25),
    ]


async def test_a_host_is_asked_for_only_when_it_is_needed() -> None:
    server = NameServer(ZONE)
    async with serving(server) as address:
        routing = Routing(lambda name: None, Resolver(address), shuffle=backwards)
        found = routing.hops("clinique.mssante.fr")
        assert (await anext(found)).host == "mx1.clinique.mssante.fr"
        await found.aclose()
    assert not server.asked["mx2.clinique.mssante.fr", "A"]


async def test_a_domain_with_addresses_only_is_its_own_mx() -> None:
    assert await hops(NameServer(ZONE), "sans-mx.mssante.fr") == [Hop("sans-mx.mssante.fr", "192.0.2.9", 25)]


async def test_one_host_dns_keeps_silent_about_does_not_matter() -> None:
    server = NameServer(ZONE, broken={"mx1.clinique.mssante.fr": "SERVFAIL"})
    assert [hop.address for hop in await hops(server, "clinique.mssante.fr")] == ["192.0.2.3", "192.0.2.2"]


async def test_addresses_tried_in_one_attempt_are_bounded() -> None:
    assert len(await hops(NameServer(ZONE), "nombreux.mssante.fr")) == MOST_HOPS


async def test_hosts_without_a_host_s_name_are_passed_by_and_hosts_are_bounded() -> None:
    assert await hops(NameServer(ZONE), "tordu.mssante.fr") == [Hop("mx2.clinique.mssante.fr", "192.0.2.2", 25)]
    server = NameServer(ZONE)
    assert (await refusal(server, "tout-tordu.mssante.fr")).startswith("451 4.4.4 ")
    assert (await refusal(server, "trop.mssante.fr")).startswith("451 4.4.4 ")
    assert len({name for name, kind in server.asked if kind == "A"}) == MOST_HOSTS


async def test_static_routes_come_first_and_ask_no_dns() -> None:
    server = NameServer(ZONE)
    routes = {"clinique.mssante.fr": ("127.0.0.1", 2600), "ehpad.mssante.fr": ("localhost", 2601)}
    assert await hops(server, "clinique.mssante.fr", routes) == [Hop("127.0.0.1", "127.0.0.1", 2600)]
    assert await hops(server, "ehpad.mssante.fr", routes) == [Hop("localhost", "127.0.0.1", 2601)]
    assert not server.asked
    routes = {"clinique.mssante.fr": ("mx2.clinique.mssante.fr", 2600)}
    assert await hops(server, "clinique.mssante.fr", routes) == [Hop("mx2.clinique.mssante.fr", "192.0.2.2", 2600)]


@pytest.mark.parametrize(
    ("domain", "reply"),
    [
        ("nulle-part.mssante.fr", "550 5.1.2 The domain nulle-part.mssante.fr does not exist"),
        ("rien.mssante.fr", "550 5.1.2 The domain rien.mssante.fr has no mail server"),
        ("muet.mssante.fr", "556 5.1.10 The domain muet.mssante.fr takes no mail"),
        ("perdu.mssante.fr", "451 4.4.4 None of the mail servers of perdu.mssante.fr has an address"),
    ],
)
async def test_answers_that_are_known(domain: str, reply: str) -> None:
    assert await refusal(NameServer(ZONE), domain) == reply


@pytest.mark.parametrize("how", ["SERVFAIL", "REFUSED", "silence", "garbage"])
@pytest.mark.parametrize("broken", ["clinique.mssante.fr", "sans-mx.mssante.fr"])
async def test_a_broken_dns_is_temporary(broken: str, how: str) -> None:
    assert await refusal(NameServer(ZONE, broken={broken: how}), broken) == f"451 4.4.3 DNS did not answer for {broken}"


async def test_hosts_that_cannot_be_asked_for_are_temporary() -> None:
    server = NameServer(ZONE, broken={"nulle-part.mssante.fr": "SERVFAIL"})
    assert await refusal(server, "perdu.mssante.fr") == "451 4.4.3 DNS did not answer for perdu.mssante.fr"
