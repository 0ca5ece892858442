"""What is remembered, across restarts, of the web server that publishes the white list.

Invariants
- The file says when that server last confirmed the list, not how old the list is: the ANS may leave one in force for
  weeks. `confirmed_us` moves only after a list was verified, or after the server said (304) that the one at hand is it.
- The validators (ETag, Last-Modified) describe the list of `digest` and are used for no other.
- An unreadable file is an empty memory: the next request is unconditional and nothing counts as confirmed by it.
- Times are int microseconds since the epoch, UTC; 0 is never.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from espace_confiance.fetch import Validators
from tls.files import replace_file

DAY_US = 86_400_000_000


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """How a white list lives. url: where it is published, empty: it is imported by hand. Spans in microseconds.

    refresh_us: between two looks at the url. alarm_us: age from which the operator is warned, stop_us: age from which
    nothing is exchanged any more; 0 is never. Age: since the last confirmation, not since DateDeGeneration.
    """

    url: str = ""
    refresh_us: int = 3_600_000_000
    alarm_us: int = 0
    stop_us: int = 0


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """The last contacts with `url`. attempted_us and fault are of the last try; fault is empty when it went well."""

    url: str = ""
    confirmed_us: int = 0
    attempted_us: int = 0
    fault: str = ""
    digest: str = ""
    etag: str = ""
    last_modified: str = ""

    def validators(self, url: str, digest: str) -> Validators:
        """Those for a request to `url`, when they describe the list of this SHA-256; else empty ones."""
        if (url, digest) != (self.url, self.digest):
            return Validators()
        return Validators(self.etag, self.last_modified)


def beside(liste: Path) -> Path:
    """Where the memory of a list's file lies."""
    return liste.with_name(liste.name + ".contact")


def read_contact(path: Path) -> Contact:
    """The memory, or an empty one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Contact)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return Contact()


def write_contact(path: Path, contact: Contact) -> None:
    """Replace the memory. Raises OSError."""
    replace_file(path, msgspec.json.encode(contact))


def confirmed_at(contact: Contact, life: Life, imported_us: int, now_us: int) -> int:
    """When the list at hand was last known to be the one in force: by the url, or by whoever brought the file.

    A moment of the future, left by a wrong clock, is not believed (a day is granted to clocks that are set back).
    """
    moments = (imported_us, contact.confirmed_us if life.url and contact.url == life.url else 0)
    return max((moment for moment in moments if moment <= now_us + DAY_US), default=0)
