"""The FHIR API of the Annuaire Santé as a source (`annuaire.source.Reading`; facts 2.2), and calls within its limits.

What must always hold:
- Never more calls in a second than permitted, and each is given up after the time-out; what the server says to wait
  (429, Retry-After) is waited.
- The next page is on the same host as the first: the key goes nowhere else.
- The type of a bal is read in both codings (TRE_R256 and R257), as a code or as a concept; the mailboxes of a resource
  are its `telecom`s marked MSSANTE, and a resource without any is an entry without fiches.
- Practitioner holds people, PractitionerRole people at a structure, Organization structures; each resource is an
  origin of its own.
"""

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx2

from annuaire.fiche import Fiche
from annuaire.fields import fiche_of
from annuaire.source import Entry, Fhir, SourceError, secret_of
from mssante.domain.annuaire import Fault

RESOURCES: Final = ("Practitioner", "PractitionerRole", "Organization")
METADATA: Final = "https://interop.esante.gouv.fr/ig/fhir/annuaire/StructureDefinition/as-ext-mailbox-mss-metadata"
KIND: Final = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-contact-point-email-type"
_IDENTIFIERS: Final = {
    "urn:oid:1.2.250.1.71.4.2.1": "id_pp",
    "https://rpps.esante.gouv.fr": "id_pp",
    "https://finess.esante.gouv.fr": "id_structure",
}
_LARGEST: Final = 32 * 1024 * 1024
_WAITS: Final = 5
_OVERLAP: Final = timedelta(minutes=1)


class Calls:
    """HTTP calls to one API, ``per_second`` at most (a sliding second). ``clock`` in seconds."""

    def __init__(
        self, spec: Fhir, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        headers = {"Accept": "application/fhir+json"}
        if spec.key_file:
            headers["ESANTE-API-KEY"] = secret_of(spec.key_file)
        context = ssl.create_default_context(cafile=spec.roots or None)
        self._client = httpx2.Client(verify=context, timeout=spec.timeout_s, headers=headers)
        self._spec, self._clock, self._sleep = spec, clock, sleep
        self._made: deque[float] = deque(maxlen=spec.per_second)

    def __call__(self, method: str, url: str, **more: Any) -> httpx2.Response:
        """The answer, whatever its status but 429. Raises SourceError."""
        for _ in range(_WAITS):
            if len(self._made) == self._made.maxlen:
                self._sleep(max(0.0, self._made[0] + 1 - self._clock()))
            self._made.append(self._clock())
            try:
                answer = self._client.request(method, url, **more)
            except httpx2.HTTPError as error:
                raise SourceError(f"{url}: {error or type(error).__name__}", again=True) from error
            if answer.status_code != 429:
                return answer
            told = answer.headers.get("retry-after", "")
            self._sleep(min(float(told), 60.0) if told.isdecimal() else 1.0)
        raise SourceError(
            f"{url}: too many calls, says the server, though they are {self._spec.per_second} a second", again=True
        )

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()


class FhirReading:
    """One reading of the API; see `Reading`."""

    name = "fhir"

    def __init__(self, spec: Fhir) -> None:
        self._spec = spec
        self.cursor = ""
        self.whole = True

    def read(self, since: str) -> Iterator[Entry | Fault]:
        """Raises SourceError."""
        self.whole = not since
        began = datetime.now(UTC)
        calls = Calls(self._spec)
        base = self._spec.url.rstrip("/")
        try:
            for resource in RESOURCES:
                changed = f"&_lastUpdated=ge{since}" if since else "&mailbox-mss:contains=@"
                url: str | None = f"{base}/{resource}?_count={self._spec.count}{changed}"
                while url:
                    bundle = _bundle(calls("GET", url), url)
                    for item in bundle.get("entry", ()):
                        yield _entry(item.get("resource") or {})
                    url = self._next(bundle, url)
        finally:
            calls.close()
        # The server's clock may be behind ours; what changed meanwhile is read again.
        self.cursor = (began - _OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _next(self, bundle: Mapping[str, Any], url: str) -> str | None:
        links = [link.get("url", "") for link in bundle.get("link", ()) if link.get("relation") == "next"]
        if not links:
            return None
        there: str = urljoin(url, links[0])
        if urlsplit(there)[:2] != urlsplit(self._spec.url)[:2]:
            raise SourceError(f"{self._spec.url}: the next page would be elsewhere: {there}")
        return there


def _bundle(answer: httpx2.Response, url: str) -> Mapping[str, Any]:
    if answer.status_code != 200:
        again = answer.status_code >= 500
        what = {401: "the key is refused: correct fhir_key_file", 403: "the key is refused: correct fhir_key_file"}
        raise SourceError(f"{url}: {what.get(answer.status_code, f'answered {answer.status_code}')}", again=again)
    if len(answer.content) > _LARGEST:
        raise SourceError(f"{url}: more than {_LARGEST} octets at once: lower the count")
    try:
        bundle = answer.json()
    except ValueError as error:
        raise SourceError(f"{url}: the answer is not JSON", again=True) from error
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise SourceError(f"{url}: the answer is not a Bundle")
    return bundle


def _entry(resource: Mapping[str, Any]) -> Entry | Fault:
    origin = f"{resource.get('resourceType')}/{resource.get('id')}"
    try:
        if resource.get("active") is False:
            return Entry(origin, ())
        common = _common(resource)
        fiches = [_fiche(telecom, common) for telecom in resource.get("telecom", ())]
        return Entry(origin, tuple(fiche for fiche in fiches if fiche is not None))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return Fault(origin, f"not of the documented shape: {error}"[:200])


def _common(resource: Mapping[str, Any]) -> dict[str, str]:
    """What all mailboxes of one resource share, by field."""
    value: dict[str, str] = {}
    for identifier in resource.get("identifier", ()):
        field = _IDENTIFIERS.get(identifier.get("system", ""))
        if field:
            value.setdefault(field, identifier.get("value", ""))
    name = resource.get("name")
    if isinstance(name, str):
        value["raison_sociale"] = name
    elif name:
        value["nom"], value["prenom"] = name[0].get("family", ""), " ".join(name[0].get("given", ()))
        value["civilite"] = " ".join(name[0].get("prefix", ()))
    for qualification in resource.get("qualification", ()):
        for coding in qualification.get("code", {}).get("coding", ()):
            fields = _qualified(coding.get("system", ""))
            if fields:
                value.setdefault(fields[0], coding.get("code", ""))
                value.setdefault(fields[1], coding.get("display", ""))
    for address in resource.get("address", ())[:1]:
        value["adresse"] = " ".join(address.get("line", ()))
        value["ville"], value["code_postal"] = address.get("city", ""), address.get("postalCode", "")
    return value


def _qualified(system: str) -> tuple[str, str] | None:
    """The fields of a coded qualification: TRE_G15 is the profession, TRE_R38 the savoir-faire."""
    if "G15" in system:
        return "profession", "profession_libelle"
    return ("savoir_faire", "savoir_faire_libelle") if "R38" in system else None


def _fiche(telecom: Mapping[str, Any], common: Mapping[str, str]) -> Fiche | None:
    """The fiche of a mailbox; None of another telecom, and of a mailbox in liste rouge. Raises ValueError."""
    extensions = {one.get("url"): one for one in telecom.get("extension", ())}
    metadata = extensions.get(METADATA)
    marked = KIND in extensions and _code(extensions[KIND]).upper() == "MSSANTE"
    if telecom.get("system") != "email" or not (metadata or marked):
        return None
    parts = {one.get("url"): one for one in (metadata or {}).get("extension", ())}
    if parts.get("listeRouge", {}).get("valueBoolean"):
        return None
    value = {"type": _code(parts.get("type", {})), "service": parts.get("service", {}).get("valueString", "")}
    return fiche_of(telecom.get("value", ""), {**common, **value})


def _code(extension: Mapping[str, Any]) -> str:
    """The code of an extension, in whichever of the forms it is written."""
    concept = extension.get("valueCodeableConcept", {}).get("coding", ())
    coding = next(iter(concept), None) or extension.get("valueCoding") or {}
    return str(extension.get("valueCode") or coding.get("code") or "")
