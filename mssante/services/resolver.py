"""DNS questions of the operator: TXT for DKIM keys, MX and addresses for outbound mail.

What always holds here:
- three kinds of "no" are told apart and never mixed: the name does not exist (`NoSuchDomain`), it exists without such a
  record (`NoAnswer`), nobody could say (`DnsBroken`, temporary: whoever asked must try again later, never bounce);
- only the configured name server is asked, names are absolute (no search list), and whatever it answers, however
  malformed, ends in a value or in one of these three;
- identical questions asked at the same time share one query, which a caller that gives up does not stop;
- the cache is bounded; nothing is kept longer than the record's TTL.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

NEGATIVE_SECONDS = 60.0
"""How long "does not exist" and "has no such record" are remembered: short, a new domain must not wait for hours."""
BROKEN_SECONDS = 2.0
"""How long a failure is remembered: just enough that a burst of mail asks a dead server once."""
LONGEST_SECONDS = 3600.0
CACHE_ENTRIES = 10_000


class DnsError(Exception):
    """A DNS question without a usable answer; the text is for the log."""


class NoSuchDomain(DnsError):
    """NXDOMAIN, or a name that cannot exist (label too long, ...)."""


class NoAnswer(DnsError):
    """The name exists, but has no record of the asked type."""


class DnsBroken(DnsError):
    """Timeout, SERVFAIL, unreachable or nonsense: temporary."""


@dataclass(frozen=True, slots=True, order=True)
class Mx:
    """One MX record; `host` is lower-case without the final dot, and empty for the null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class _Known:
    until: float
    value: Sequence[object]
    error: DnsError | None


_Key = tuple[str, dns.rdatatype.RdataType]


def name_server(text: str) -> tuple[str, int] | None:
    """The (host, port) of a setting ``host:port``; None, the machine's own, of an empty one."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host else None


class Resolver:
    """Caching stub resolver on one event loop.

    `server` is the (IP address, port) to ask, or None for the machine's own (`/etc/resolv.conf`); `timeout` is in
    seconds for a whole question, retries included; `monotonic` gives seconds for the age of cache entries.
    """

    def __init__(
        self,
        server: tuple[str, int] | None = None,
        timeout: float = 5.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        cache_entries: int = CACHE_ENTRIES,
    ) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        if server is not None:
            host, port = server
            address = "127.0.0.1" if host == "localhost" else host
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise ValueError(f"name server {host!r}: an IP address is needed") from error
            self._resolver.nameservers = [address]
            self._resolver.port = port
        self._resolver.cache = None
        self._resolver.lifetime = timeout
        self._resolver.timeout = min(2.0, timeout)
        self._resolver.use_edns(0, 0, 1232)
        self._monotonic = monotonic
        self._cache_entries = cache_entries
        self._cache: OrderedDict[_Key, _Known] = OrderedDict()
        self._asking: dict[_Key, asyncio.Task[_Known]] = {}

    async def txt(self, name: str) -> list[bytes]:
        """The TXT records of `name`, each with its character-strings joined (RFC 6376 §3.6.2.2)."""
        return [text for text in await self._ask(name, dns.rdatatype.TXT) if isinstance(text, bytes)]

    async def mx(self, domain: str) -> list[Mx]:
        """The MX records of `domain` by preference (RFC 5321 §5.1); a null MX is one with an empty host."""
        return sorted(record for record in await self._ask(domain, dns.rdatatype.MX) if isinstance(record, Mx))

    async def addresses(self, host: str) -> list[str]:
        """IPv6 and IPv4 addresses of `host`, as text; one family is enough, the other may fail.

        `NoAnswer` when it has neither, `DnsBroken` when none is known and at least one question got no answer.
        """
        found: list[str] = []
        errors: list[DnsError] = []
        answers = await asyncio.gather(
            self._ask(host, dns.rdatatype.AAAA), self._ask(host, dns.rdatatype.A), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, DnsError):
                errors.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += [address for address in answer if isinstance(address, str)]
        if found:
            return found
        raise next((error for error in errors if isinstance(error, DnsBroken)), errors[0])

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> Sequence[object]:
        key = (name.lower().rstrip("."), kind)
        known = self._cache.get(key)
        if known is None or known.until <= self._monotonic():
            known = await asyncio.shield(self._question(key))
        else:
            self._cache.move_to_end(key)
        if known.error is not None:
            # A fresh exception each time: a shared one would gather the tracebacks of every caller.
            raise type(known.error)(*known.error.args)
        return known.value

    def _question(self, key: _Key) -> asyncio.Task[_Known]:
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._query(key))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return task

    async def _query(self, key: _Key) -> _Known:
        name, kind = key
        seconds = NEGATIVE_SECONDS
        value: Sequence[object] = ()
        error: DnsError | None = None
        try:
            question = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError, ValueError):
            error = NoSuchDomain(f"{name!r} cannot be a domain name")
        else:
            try:
                answer = await self._resolver.resolve(question, kind, search=False)
            except dns.resolver.NXDOMAIN:
                error = NoSuchDomain(f"{name} does not exist")
            except dns.resolver.NoAnswer:
                error = NoAnswer(f"{name} has no {kind.name} record")
            except (dns.exception.DNSException, OSError, EOFError, ValueError) as fault:
                seconds = BROKEN_SECONDS
                error = DnsBroken(f"{kind.name} of {name}: {type(fault).__name__}")
            else:
                seconds = min(LONGEST_SECONDS, answer.chaining_result.minimum_ttl)
                value = tuple(_value(record) for record in answer)
        known = _Known(self._monotonic() + seconds, value, error)
        self._cache[key] = known
        self._cache.move_to_end(key)
        while len(self._cache) > self._cache_entries:
            self._cache.popitem(last=False)
        return known


def _value(record: object) -> object:
    """One record as a plain value: bytes of a TXT, an `Mx`, or the text of an address."""
    strings = getattr(record, "strings", None)
    if strings is not None:
        return b"".join(strings)
    exchange = getattr(record, "exchange", None)
    if exchange is not None:
        return Mx(int(getattr(record, "preference", 0)), exchange.to_text(omit_final_dot=True).lower().rstrip("."))
    return str(getattr(record, "address", ""))
