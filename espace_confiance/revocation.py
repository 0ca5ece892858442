"""Fetching the authorities' CRLs into the file from which the TLS contexts take them.

Invariants
- The file holds only CRLs that a trusted authority signed, each at least as new as the one before it; it is replaced
  whole. A source that fails leaves what is held as it is, and the other sources are asked all the same.
- Sources are those of the settings; without any, the distribution points (http, https) of the trusted authorities and
  of the own certificate, whose issuer is that of the other operators. What strangers' certificates name is not asked.
- `Contexts.reload` takes the changed file into force; nothing here touches a context.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path

import structlog

from espace_confiance.fetch import FetchFailed, Validators, fetch
from mssante.domain.clock import Clock
from tls.certificates import TlsError, load_certificates, load_crls
from tls.crl import MAX_BYTES, Crl, CrlRefused, checked, distribution_points, pem, read_crl, replaced
from tls.files import replace_file

log = structlog.get_logger("espace_confiance")

FETCH_SECONDS = 60.0


class Revocation:
    """The CRL file `crl` of the authorities in `roots`. urls: the sources, empty for the distribution points."""

    def __init__(self, crl: Path, roots: Path, certificate: Path, urls: tuple[str, ...], clock: Clock) -> None:
        self._crl, self._roots, self._certificate, self._clock = crl, roots, certificate, clock
        self.urls = urls
        self.faults: dict[str, str] = {}
        """By source: why its last answer was not taken."""
        self._seen: dict[str, tuple[str, Validators]] = {}

    def sources(self) -> tuple[str, ...]:
        """Where the CRLs are asked for. Reads files. Raises TlsError naming the faulty one."""
        if self.urls:
            return self.urls
        return distribution_points([*load_certificates(self._certificate), *load_certificates(self._roots)])

    async def refresh(self, context: ssl.SSLContext, *, seconds: float = FETCH_SECONDS) -> bool:
        """Ask every source once; True when the file changed. Faults are in `faults`, nothing is raised."""
        try:
            sources = await asyncio.to_thread(self.sources)
        except TlsError as fault:
            self.faults = {"": str(fault)}
            return False
        changed = False
        faults: dict[str, str] = {}
        for source in sources:
            try:
                changed |= await self._refresh_one(source, context, seconds)
            except (FetchFailed, CrlRefused, TlsError, OSError) as fault:
                faults[source] = str(fault) if source in str(fault) else f"{source}: {fault}"
        self.faults = faults
        return changed

    async def _refresh_one(self, source: str, context: ssl.SSLContext, seconds: float) -> bool:
        held = await asyncio.to_thread(self._held)
        digest, validators = self._seen.get(source, ("", Validators()))
        if digest not in {_digest(crl) for crl in held}:
            validators = Validators()
        fetched = await fetch(source, context, max_bytes=MAX_BYTES, seconds=seconds, validators=validators)
        if fetched.body is None:
            return False
        digest, changed = await asyncio.to_thread(self._take, fetched.body, held)
        self._seen[source] = (digest, fetched.validators)
        return changed

    def _held(self) -> tuple[Crl, ...]:
        """The CRLs of the file; none when there is no file, or none that can be read: then all are taken anew."""
        if not self._crl.exists():
            return ()
        try:
            return tuple(checked(crl) for crl in load_crls(self._crl))
        except (TlsError, CrlRefused) as fault:
            log.warning("the file of revocation lists is made anew", reason=str(fault))
            return ()

    def _take(self, data: bytes, held: tuple[Crl, ...]) -> tuple[str, bool]:
        new = read_crl(data)
        kept = replaced(held, new, load_certificates(self._roots), self._clock.now_us())
        if kept == held:
            return _digest(new), False
        target = self._crl.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, pem(kept))
        return _digest(new), True


def _digest(crl: Crl) -> str:
    return hashlib.sha256(crl.tbs_certlist_bytes + crl.signature).hexdigest()
