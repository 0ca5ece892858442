"""The white list in force: held in memory, kept on disk, replaced only by a newer verified one.

Invariants
- The list in force was verified here; a file on disk is verified again at every start and every change.
- The list never goes back: one whose DateDeGeneration is before that of the list at hand is refused, as long as the
  signer of the list at hand is still permitted. Pinning another signer is a change of trust space, not an update.
- A faulty new file or answer changes nothing but `status()`; the last good list stays, in memory and on disk.
- A list that nobody confirmed for `Life.stop_us` is not in force: `liste` is None then, as without any list, so that
  every question is answered "cannot tell now". It comes back with the next confirmation, not with a restart.
- Files are replaced atomically and synced before a method returns; a symbolic link keeps pointing where it did.
- Reading and verifying takes some 0.3 s: `reload_if_changed`, `take`, `confirm` and `import_file` belong in a thread.
  The questions (`lists`, `accepts`, `knows`) are hash look-ups for the loop.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import msgspec

from espace_confiance.contact import Contact, Life, beside, confirmed_at, read_contact, write_contact
from espace_confiance.fetch import Validators
from espace_confiance.liste_blanche import MAX_BYTES, ListeBlanche, ListeRefusee, SignerPin, read_liste
from espace_confiance.signer import SignerFiles
from mssante.domain.clock import Clock, SystemClock
from tls.certificates import fingerprint
from tls.files import replace_file
from tls.names import DN

_Stamp = tuple[int, int, int]
HOUR_US = 3_600_000_000
_IMPORTED, _CLOCK = Life(), SystemClock()


class EspaceConfiance:
    """The trust space as this operator sees it. Without a usable file it starts empty and trusts nobody."""

    def __init__(
        self,
        path: Path,
        signer: Path | SignerFiles,
        *,
        life: Life = _IMPORTED,
        clock: Clock = _CLOCK,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """path: the signed list. signer: who may sign it; its files are read at each verification."""
        self._path, self._max_bytes, self._clock = path, max_bytes, clock
        self._signer = signer if isinstance(signer, SignerFiles) else SignerFiles(signer)
        self.life = life
        self._held: ListeBlanche | None = None
        self._digest = ""
        self._imported_us = 0
        self._contact = Contact()
        self._stamps: tuple[_Stamp | None, ...] | None = None
        self._contact_stamp: _Stamp | None = None
        self._fault = ""
        self._lock = threading.Lock()
        self.reload_if_changed()

    @property
    def liste(self) -> ListeBlanche | None:
        """The list in force, or None when there never was a usable one, or nobody confirmed it for too long."""
        return None if self.stopped else self._held

    @property
    def held(self) -> ListeBlanche | None:
        """The last good list, in force or not."""
        return self._held

    @property
    def url(self) -> str:
        """Where the list is fetched, or an empty string."""
        return self.life.url

    @property
    def confirmed_us(self) -> int:
        """When the list at hand was last known to be the one in force; 0: cannot be told."""
        return confirmed_at(self._contact, self.life, self._imported_us, self._clock.now_us())

    @property
    def age_us(self) -> int:
        """Since `confirmed_us`."""
        return max(0, self._clock.now_us() - self.confirmed_us)

    @property
    def stopped(self) -> bool:
        """Is the list too old to exchange anything under it?"""
        return bool(self.life.stop_us) and self.age_us >= self.life.stop_us

    @property
    def alarming(self) -> bool:
        """Is it time to look why nobody confirms the list?"""
        return bool(self.life.alarm_us) and self.age_us >= self.life.alarm_us

    @property
    def fault(self) -> str:
        """Why the file, or else the last answer of the url, was not taken."""
        return self._fault or self.fetch_fault

    @property
    def fetch_fault(self) -> str:
        """How the last look at the url failed."""
        return self._contact.fault if self.url and self._contact.url == self.url else ""

    def lists(self, domain: str) -> bool:
        """Is the domain of the trust space?"""
        liste = self.liste
        return liste is not None and liste.lists(domain)

    def accepts(self, domain: str, dn: DN) -> bool:
        """Is this operator's certificate listed for the domain?"""
        liste = self.liste
        return liste is not None and liste.accepts(domain, dn)

    def knows(self, dn: DN) -> bool:
        """Is this operator's certificate listed for any domain?"""
        liste = self.liste
        return liste is not None and liste.knows(dn)

    def reload_if_changed(self) -> bool:
        """Take a changed file into force; True when a new list is. A faulty file is reported by `status`."""
        with self._lock:
            contact_stamp = _stamp(beside(self._path))
            if contact_stamp != self._contact_stamp:
                self._contact_stamp, self._contact = contact_stamp, read_contact(beside(self._path))
            stamps = self._all_stamps()
            if stamps == self._stamps:
                return False
            self._stamps = stamps
            try:
                data = _read(self._path, self._max_bytes)
                new = self._verify(data, self._signer.load())
            except ListeRefusee as fault:
                self._fault = str(fault)
                return False
            changed = self._held is None or self._digest != _digest(data)
            self._put(new, data, stamps[0])
            return changed

    def import_file(self, source: Path, signer: Path | None = None) -> ListeBlanche:
        """Verify a list (XML, or the same in gzip), put it in force here and at this operator's path.

        signer: PEM of another signer to pin from now on; it replaces the configured signer's file, so that the list is
        still good at the next start. Raises ListeRefusee with the reason (then nothing has changed), or OSError when
        the file cannot be written.
        """
        with self._lock:
            if signer is not None and self._signer.authority is not None:
                raise ListeRefusee("the signer is pinned by its authority: change that setting, not the certificate")
            data = _plain(_read(source, self._max_bytes), self._max_bytes)
            pin = self._signer.load() if signer is None else SignerPin.from_pem(signer)
            new = self._verify(data, pin)
            if signer is not None:
                replace_file(self._signer.certificate.resolve(), signer.read_bytes())
            self._replace(new, data)
            return new

    def validators(self) -> Validators:
        """What makes the next request to the url conditional: nothing, unless the list of the file is in force."""
        with self._lock:
            usable = self._held is not None and not self._fault
            return self._contact.validators(self.url, self._digest) if usable else Validators()

    def take(self, data: bytes, validators: Validators) -> bool:
        """The url answered with this list: True when it is another one than the one at hand.

        Raises ListeRefusee or OSError, noted as the fault of this contact; then the list at hand stays.
        """
        with self._lock:
            try:
                new = self._verify(data, self._signer.load())
                digest = _digest(data)
                changed = digest != self._digest
                if changed or self._fault:
                    self._replace(new, data)
            except (ListeRefusee, OSError) as fault:
                self._note(msgspec.structs.replace(self._tried(), fault=str(fault)))
                raise
            now_us = self._clock.now_us()
            self._note(
                Contact(
                    url=self.url,
                    confirmed_us=now_us,
                    attempted_us=now_us,
                    digest=digest,
                    etag=validators.etag,
                    last_modified=validators.last_modified,
                )
            )
            return changed

    def confirm(self) -> None:
        """The url answered that the list at hand is the one in force (304 to a request with `validators`)."""
        with self._lock:
            tried = self._tried()
            self._note(msgspec.structs.replace(tried, confirmed_us=tried.attempted_us, fault=""))

    def failed(self, reason: str) -> None:
        """The url gave no usable answer."""
        with self._lock:
            self._note(msgspec.structs.replace(self._tried(), fault=reason))

    def status(self) -> dict[str, Any]:
        """What an operator wants to know: counts, dates (µs), ages, signer, faulty entries, what is refused."""
        held, life, now_us = self._held, self.life, self._clock.now_us()
        facts: dict[str, Any] = {
            "path": str(self._path),
            "in_force": self.liste is not None,
            "stopped": held is not None and self.stopped,
            "refused": self._fault,
        }
        if held is not None:
            confirmed_us = self.confirmed_us
            facts |= {
                "generated_us": held.generated_us,
                "generated_age_hours": (now_us - held.generated_us) // HOUR_US,
                "confirmed_us": confirmed_us or None,
                "confirmed_age_hours": self.age_us // HOUR_US if confirmed_us else None,
                "alarm_us": confirmed_us + life.alarm_us if life.alarm_us else None,
                "hard_stop_us": confirmed_us + life.stop_us if life.stop_us else None,
                "entries": len(held.entries),
                "domains": len(held.domains),
                "distinguished_names": held.dn_count,
                "signer": held.signer.subject.rfc4514_string(),
                "signer_fingerprint": fingerprint(held.signer_der),
                "unreadable_entries": list(held.faults),
            }
        facts["url"] = self.url
        if self.url:
            tried_us = self._contact.attempted_us if self._contact.url == self.url else 0
            facts |= {
                "last_check_us": tried_us or None,
                "last_fault": self.fetch_fault,
                "next_refresh_us": tried_us + life.refresh_us if tried_us else None,
            }
        return facts

    def _verify(self, data: bytes, pin: SignerPin) -> ListeBlanche:
        new = read_liste(data, pin, max_bytes=self._max_bytes)
        held = self._held
        if held is not None and new.generated_us < held.generated_us and pin.permits(held.signer):
            raise ListeRefusee("older than the list in force (DateDeGeneration must not go back)")
        return new

    def _replace(self, new: ListeBlanche, data: bytes) -> None:
        target = self._path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, data)
        now_ns = self._clock.now_us() * 1000
        os.utime(target, ns=(now_ns, now_ns))  # an age is told by one clock
        self._stamps = self._all_stamps()
        self._put(new, data, self._stamps[0])

    def _put(self, new: ListeBlanche, data: bytes, stamp: _Stamp | None) -> None:
        self._imported_us = stamp[0] // 1000 if stamp else 0
        self._held, self._digest, self._fault = new, _digest(data), ""

    def _tried(self) -> Contact:
        """The memory of `url`, with a try at this moment."""
        known = self._contact if self._contact.url == self.url else Contact(url=self.url)
        return msgspec.structs.replace(known, attempted_us=self._clock.now_us())

    def _note(self, contact: Contact) -> None:
        """Remember; when the disk does not take it, at least as long as this process lives."""
        self._contact = contact
        try:
            write_contact(beside(self._path), contact)
        except OSError as fault:
            self._contact = msgspec.structs.replace(contact, fault=contact.fault or f"not remembered: {fault}")
        self._contact_stamp = _stamp(beside(self._path))

    def _all_stamps(self) -> tuple[_Stamp | None, ...]:
        return tuple(_stamp(path) for path in (self._path, *self._signer.paths))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _plain(data: bytes, max_bytes: int) -> bytes:
    """The list as published inside a gzip file, at most one octet more than permitted; other data as it is."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return zlib.decompressobj(wbits=31).decompress(data, max_bytes + 1)
    except zlib.error as fault:
        raise ListeRefusee(f"the gzip file cannot be read: {fault}") from fault


def _read(path: Path, max_bytes: int) -> bytes:
    """At most one octet more than permitted, so that a huge file is refused without being read."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as fault:
        raise ListeRefusee(f"{path}: {fault.strerror}") from fault
