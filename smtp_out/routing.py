"""Where mail for a domain goes: the static routes file first, else MX records (RFC 5321 §5.1).

What always holds here:
- a domain that does not exist or takes no mail fails for good, a DNS that does not answer is temporary: never mixed;
- MX hosts are tried by preference, those of one preference in random order; a domain without MX records but with
  addresses is its own MX; a null MX (RFC 7505) is an answer, not a fault;
- the addresses of a host are asked for only when the ones before it did not do;
- whatever DNS says, a hop has a host name that TLS can say (SNI), and hosts and hops are few.

Routing says nothing about trust: whoever answers at a hop has to show a certificate listed for the domain.
"""

import ipaddress
import random
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from mssante.services.resolver import DnsBroken, DnsError, Mx, NoAnswer, NoSuchDomain, Resolver
from smtp_out.replies import Reply

MOST_HOPS = 8
"""Addresses tried in one attempt; RFC 5321 §5.1 asks for two at least."""
MOST_HOSTS = 16
"""Hosts whose addresses are asked for in one attempt."""
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hop:
    """One address to connect to; `host` is its name, for SNI and the journal."""

    host: str
    address: str
    port: int


class NoRoute(Exception):
    """No hop for a domain; `reply` has the status to report: 5xx for good, 4xx for now."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, (text,), local=True)


class Routing:
    """`routes(domain)` gives the static (host, port) or None; `port` is the MX port of other operators."""

    def __init__(
        self,
        routes: Callable[[str], tuple[str, int] | None],
        resolver: Resolver,
        *,
        port: int = 25,
        shuffle: Callable[[list[Mx]], None] = random.shuffle,
    ) -> None:
        self._routes = routes
        self._resolver = resolver
        self._port = port
        self._shuffle = shuffle

    async def hops(self, domain: str) -> AsyncGenerator[Hop, None]:
        """The addresses to try, best first; at least one, or NoRoute is raised."""
        count = 0
        fault: DnsError | None = None
        route = self._routes(domain)
        hosts = (
            [route] if route is not None else [(record.host, self._port) for record in await self._exchanges(domain)]
        )
        for host, port in hosts:
            try:
                addresses = await self._addresses(host)
            except DnsError as error:
                if not isinstance(fault, DnsBroken):
                    fault = error
                continue
            for address in addresses:
                if count == MOST_HOPS:
                    return
                count += 1
                yield Hop(host, address, port)
        if count == 0:
            if isinstance(fault, DnsBroken):
                raise NoRoute(451, f"4.4.3 DNS did not answer for {domain}") from fault
            raise NoRoute(451, f"4.4.4 None of the mail servers of {domain} has an address") from fault

    async def _exchanges(self, domain: str) -> list[Mx]:
        try:
            records = await self._resolver.mx(domain)
        except NoSuchDomain as error:
            raise NoRoute(550, f"5.1.2 The domain {domain} does not exist") from error
        except DnsBroken as error:
            raise NoRoute(451, f"4.4.3 DNS did not answer for {domain}") from error
        except NoAnswer:
            return await self._itself(domain)
        if not any(record.host for record in records):
            raise NoRoute(556, f"5.1.10 The domain {domain} takes no mail")
        usable = [record for record in records if _HOST.fullmatch(record.host)]
        self._shuffle(usable)
        return sorted(usable, key=lambda record: record.preference)[:MOST_HOSTS]

    async def _itself(self, domain: str) -> list[Mx]:
        """The implicit MX: a domain with addresses only."""
        try:
            await self._resolver.addresses(domain)
        except DnsBroken as error:
            raise NoRoute(451, f"4.4.3 DNS did not answer for {domain}") from error
        except DnsError as error:
            raise NoRoute(550, f"5.1.2 The domain {domain} has no mail server") from error
        return [Mx(0, domain)]

    async def _addresses(self, host: str) -> list[str]:
        if host == "localhost":
            return ["127.0.0.1"]
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            return await self._resolver.addresses(host)
