"""The white list in force: held in memory, kept on disk, replaced only by a newer verified one.

Invariants
- The list in force was verified here; a file on disk is verified again at every start and every change.
- The list never goes back: one whose DateDeGeneration is before that of the list in force is refused, as long as the
  signer of the list in force is still pinned. Pinning another signer is a change of trust space, not an update.
- A faulty new file changes nothing but `status()`; the last good list stays in force, in memory and on disk.
- The file is replaced atomically and synced before `import_file` returns; a symbolic link keeps pointing where it did.
- Reading and verifying takes some 0.3 s: `reload_if_changed` and `import_file` belong in a thread. The questions
  (`lists`, `accepts`, `knows`) are hash look-ups for the loop.
"""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from typing import Any

from espace_confiance.liste_blanche import MAX_BYTES, ListeBlanche, ListeRefusee, SignerPin, read_liste
from tls.certificates import fingerprint
from tls.files import replace_file
from tls.names import DN

_Stamp = tuple[int, int, int]


class EspaceConfiance:
    """The trust space as this operator sees it. Without a usable file it starts empty and trusts nobody."""

    def __init__(self, path: Path, signer: Path, *, max_bytes: int = MAX_BYTES) -> None:
        """path: the signed list. signer: PEM of the certificates that may sign it, read again at every verification."""
        self._path, self._signer, self._max_bytes = path, signer, max_bytes
        self._liste: ListeBlanche | None = None
        self._stamp: tuple[_Stamp | None, _Stamp | None] | None = None
        self._fault = ""
        self._lock = threading.Lock()
        self.reload_if_changed()

    @property
    def liste(self) -> ListeBlanche | None:
        """The list in force, or None when there never was a usable one."""
        return self._liste

    def lists(self, domain: str) -> bool:
        """Is the domain of the trust space?"""
        return self._liste is not None and self._liste.lists(domain)

    def accepts(self, domain: str, dn: DN) -> bool:
        """Is this operator's certificate listed for the domain?"""
        return self._liste is not None and self._liste.accepts(domain, dn)

    def knows(self, dn: DN) -> bool:
        """Is this operator's certificate listed for any domain?"""
        return self._liste is not None and self._liste.knows(dn)

    def reload_if_changed(self) -> bool:
        """Take a changed file into force; True when a new list is in force. A faulty file is reported by `status`."""
        with self._lock:
            stamp = (_stamp(self._path), _stamp(self._signer))
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            try:
                new = self._verify(_read(self._path, self._max_bytes), SignerPin.from_pem(self._signer))
            except ListeRefusee as fault:
                self._fault = str(fault)
                return False
            self._liste, self._fault = new, ""
            return True

    def import_file(self, source: Path, signer: Path | None = None) -> ListeBlanche:
        """Verify a list (XML, or the same in gzip), put it in force here and at this operator's path.

        signer: PEM of another signer to pin from now on; it replaces the configured signer's file, so that the list is
        still good at the next start. Raises ListeRefusee with the reason (then nothing has changed), or OSError when
        the file cannot be written.
        """
        with self._lock:
            data = _plain(_read(source, self._max_bytes), self._max_bytes)
            new = self._verify(data, SignerPin.from_pem(signer or self._signer))
            target = self._path.resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            if signer is not None:
                replace_file(self._signer.resolve(), signer.read_bytes())
            replace_file(target, data)
            self._liste, self._fault = new, ""
            self._stamp = (_stamp(self._path), _stamp(self._signer))
            return new

    def status(self) -> dict[str, Any]:
        """What an operator wants to know: counts, date (µs), signer, faulty entries, why the file is not used."""
        liste = self._liste
        facts: dict[str, Any] = {"path": str(self._path), "in_force": liste is not None, "refused": self._fault}
        if liste is not None:
            facts |= {
                "generated_us": liste.generated_us,
                "entries": len(liste.entries),
                "domains": len(liste.domains),
                "distinguished_names": liste.dn_count,
                "signer": liste.signer.subject.rfc4514_string(),
                "signer_fingerprint": fingerprint(liste.signer_der),
                "unreadable_entries": list(liste.faults),
            }
        return facts

    def _verify(self, data: bytes, pin: SignerPin) -> ListeBlanche:
        new = read_liste(data, pin, max_bytes=self._max_bytes)
        held = self._liste
        if held is not None and held.signer in pin.certificates and new.generated_us < held.generated_us:
            raise ListeRefusee("older than the list in force (DateDeGeneration must not go back)")
        return new


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
