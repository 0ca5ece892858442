"""The LDAP directory as a source (`annuaire.source.Reading`).

What must always hold:
- No name of the directory's schema stands in the code: all are settings, as the national schema is not public.
- The DN is the origin of an entry; an entry in liste rouge is one without fiches.
- Changes are found by the time of the last change, an operational attribute of every server (RFC 4512 §3.4); what is
  erased is not found that way. The cursor goes back by as long as the reading took, and a minute: what changed behind
  its back is read again rather than missed, whatever the clocks say.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from annuaire.fields import FIELDS, YES, fiche_of
from annuaire.source import Entry, Ldap, SourceError
from mssante.domain.annuaire import Fault

_OVERLAP: Final = timedelta(minutes=1)


class LdapReading:
    """One reading of the directory; see `Reading`."""

    name = "ldap"

    def __init__(self, spec: Ldap) -> None:
        unknown = set(spec.attributes) - FIELDS
        if unknown:
            raise SourceError(f"[annuaire_ldap] attributes: unknown fields {', '.join(sorted(unknown))}")
        self._spec = spec
        self._names = {field: attribute.lower() for field, attribute in spec.attributes.items()}
        self.cursor = ""
        self.whole = True

    def read(self, since: str) -> Iterator[Entry | Fault]:
        """Raises SourceError."""
        if self._spec.library == "ldap3":
            from annuaire.ldap3_client import pages
        else:
            from annuaire.python_ldap import pages
        began = time.monotonic()
        modified = self._names.get("modified", "")
        self.whole = not (since and modified)
        filter_ = self._spec.filter if self.whole else f"(&{self._spec.filter}({modified}>={since}))"
        newest = since
        for page in pages(self._spec, filter_, list(self._spec.attributes.values())):
            for dn, attributes in page:
                newest = max(newest, _text(attributes, modified))
                yield from self._entry(dn, attributes)
        self.cursor = _earlier(newest, timedelta(seconds=time.monotonic() - began) + _OVERLAP, since)

    def _entry(self, dn: str, attributes: Mapping[str, list[bytes]]) -> Iterator[Entry | Fault]:
        try:
            value = {
                field: values[0].decode().strip()
                for field, name in self._names.items()
                if (values := attributes.get(name))
            }
            addresses = [one.decode() for one in attributes.get(self._names.get("address", "mail"), [])]
            rouge = value.get("liste_rouge", "").lower() in YES
            if not addresses and not rouge:
                raise ValueError(f"it has no {self._names.get('address')}")
            fiches = () if rouge else tuple(fiche_of(address, value) for address in addresses)
        except ValueError as error:  # UnicodeDecodeError and AddressError are such
            problem = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            yield Fault(dn[:200], problem)
            return
        yield Entry(dn, fiches)


def _text(attributes: Mapping[str, list[bytes]], name: str) -> str:
    values = attributes.get(name)
    return values[0].decode().strip() if values else ""


def _earlier(newest: str, by: timedelta, since: str) -> str:
    """The generalized time (RFC 4517 §3.3.13) that much before, but not before ``since``."""
    try:
        told = datetime.strptime(newest[:14], "%Y%m%d%H%M%S") - by
    except ValueError:
        return since
    return max(since, told.strftime("%Y%m%d%H%M%SZ"))
