"""Own bals told to the national directory: what is said of one, and the two ways to say it.

What must always hold:
- Saying the same thing twice changes nothing: an order has a reference of its own and the whole record; over FHIR the
  resource is looked at before it is changed.
- A file is whole before it has its name; the answers to it are read by the reference alone.
- What may not be published (a PER without RPPS or ADELI, an ORG or APP without a structure) is told, never sent.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from annuaire.fhir import KIND, METADATA, Calls
from annuaire.source import Fhir, SourceError

PUBLISH, UPDATE, WITHDRAW = "publish", "update", "withdraw"
LARGEST_REPORT = 16 * 1024 * 1024


class Published(msgspec.Struct, frozen=True):
    """What the directory is told of a bal. ``id_pp``, ``id_structure``: national forms."""

    address: str
    type: str
    id_pp: str = ""
    nom: str = ""
    prenom: str = ""
    profession: str = ""
    id_structure: str = ""
    responsable: str = ""
    liste_rouge: bool = False

    @property
    def fault(self) -> str:
        """Why it cannot be published, or ""."""
        if self.type == "PER":
            return "" if self.id_pp else "a PER needs an RPPS or an ADELI"
        return "" if self.id_structure else f"an {self.type} needs the FINESS or SIRET of its structure"


class Order(msgspec.Struct, frozen=True):
    """One thing to be told: ``operation`` is publish, update or withdraw."""

    bal_id: int
    operation: str
    reference: str
    record: Published


class Outcome(msgspec.Struct, frozen=True):
    """What became of an order: sent (an answer will come), published, withdrawn, rejected, or pending (try again)."""

    reference: str
    state: str
    report: str = ""


class Way(Protocol):
    """How orders reach the directory, and how its answers come back. Both block. OSError and SourceError: not now."""

    def deliver(self, orders: Sequence[Order], now: str) -> list[Outcome]:
        """What became of each. ``now``: the time as AAAAMMJJhhmmss, for names."""

    def answers(self) -> list[Outcome]:
        """What has come back since `settle`; state published (it was taken) or rejected."""

    def settle(self) -> None:
        """The answers are recorded: they need not come again."""


class Layout(msgspec.Struct, frozen=True):
    """How the files are written and the answers read: column title → field."""

    columns: Mapping[str, str]
    report: Mapping[str, str]
    separator: str = "|"
    accepted: str = "OK"


class FileDrop:
    """Orders as CSV files in ``folder``/depot, answers as CSV files in ``folder``/retour (read ones go to retour/lus).

    UTF-8, one header line, fields with the separator or a quote in them are quoted (RFC 4180)."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._depot, self._retour, self._layout = folder / "depot", folder / "retour", layout
        self._read: list[Path] = []
        self._faults: list[str] = []

    def deliver(self, orders: Sequence[Order], now: str) -> list[Outcome]:
        """One file for all of them. Raises OSError."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=self._layout.separator, lineterminator="\r\n")
        writer.writerow(self._layout.columns)
        for order in orders:
            value = msgspec.to_builtins(order.record) | {"operation": order.operation, "reference": order.reference}
            value["liste_rouge"] = "O" if order.record.liste_rouge else "N"
            writer.writerow([str(value.get(field, "")) for field in self._layout.columns.values()])
        self._depot.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._depot / f".{now}-{orders[0].reference}.part"
        with part.open("wb") as file:
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._depot / f"bal-{now}-{orders[0].reference}.csv")
        return [Outcome(order.reference, "sent") for order in orders]

    def answers(self) -> list[Outcome]:
        """Of the files that are answers; `settle` tells of the others. Raises OSError."""
        self._retour.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[Outcome] = []
        self._read, self._faults = [], []
        for path in sorted(self._retour.glob("*.csv")):
            try:
                found += self._answers(path)
                self._read.append(path)
            except SourceError as fault:
                self._faults.append(str(fault))
        return found

    def settle(self) -> None:
        """Raises SourceError that names the files that are no answers, when all others are put away."""
        done = self._retour / "lus"
        done.mkdir(mode=0o700, exist_ok=True)
        for path in self._read:
            path.rename(done / path.name)
        self._read = []
        if self._faults:
            raise SourceError("; ".join(self._faults))

    def _answers(self, path: Path) -> Iterable[Outcome]:
        if path.stat().st_size > LARGEST_REPORT:
            raise SourceError(f"{path}: longer than {LARGEST_REPORT} octets: move it away")
        try:
            rows = csv.DictReader(
                io.StringIO(path.read_text("utf-8-sig"), newline=""), delimiter=self._layout.separator
            )
            missing = set(self._layout.report) - set(rows.fieldnames or ())
            if missing:
                raise SourceError(f"{path}: no column {', '.join(sorted(missing))}: correct [publication] report")
            values = [
                {field: (row.get(title) or "").strip() for title, field in self._layout.report.items()} for row in rows
            ]
        except (UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"{path}: not a CSV file in UTF-8: {error}: move it away") from error
        for value in values:
            taken = value["result"].casefold() == self._layout.accepted.casefold()
            said = " ".join(filter(None, (value["result"], value.get("message", ""))))[:300]
            yield Outcome(value["reference"], "published" if taken else "rejected", "" if taken else said)


class FhirPatch:
    """The draft API MSSanté (facts 2.3): a conditional FHIR Patch each, on the resource that carries the bal."""

    def __init__(self, spec: Fhir) -> None:
        self._spec = spec

    def deliver(self, orders: Sequence[Order], now: str) -> list[Outcome]:
        """Raises SourceError when the API cannot be asked at all."""
        calls = Calls(self._spec)
        try:
            return [self._told(calls, order) for order in orders]
        finally:
            calls.close()

    def answers(self) -> list[Outcome]:
        """None: this way answers at once."""
        return []

    def settle(self) -> None:
        """Nothing is kept."""

    def _told(self, calls: Calls, order: Order) -> Outcome:
        record = order.record
        if record.type in ("PER", "CAB"):
            resource, identifier = "Practitioner", f"urn:oid:1.2.250.1.71.4.2.1|{record.id_pp}"
        else:
            resource, identifier = "Organization", f"https://finess.esante.gouv.fr|{record.id_structure[1:]}"
        url = f"{self._spec.url.rstrip('/')}/{resource}"
        try:
            found = calls("GET", url, params={"identifier": identifier})
            entries = found.json().get("entry", []) if found.status_code == 200 else []
            if found.status_code == 200 and len(entries) != 1:
                return Outcome(
                    order.reference, "rejected", f"{len(entries)} {resource} have the identifier {identifier}"
                )
            answer = found
            if found.status_code == 200:
                telecoms = entries[0]["resource"].get("telecom", [])
                there = any(telecom.get("value") == record.address for telecom in telecoms)
                patch = _patch(resource, order, there)
                if patch is None:
                    return Outcome(order.reference, "published")
                kind = {"Content-Type": "application/fhir+json"}
                content = msgspec.json.encode(patch)
                answer = calls("PATCH", url, params={"identifier": identifier}, content=content, headers=kind)
        except (SourceError, ValueError, KeyError, AttributeError) as error:
            return Outcome(order.reference, "pending", str(error)[:300])
        if answer.is_success:
            return Outcome(order.reference, "published")
        again = answer.status_code >= 500
        said = f"{answer.status_code} {' '.join(answer.text[:200].split())}".strip()
        return Outcome(order.reference, "pending" if again else "rejected", said)


def _patch(resource: str, order: Order, there: bool) -> dict[str, Any] | None:
    """The Parameters of a FHIR Patch; None when there is nothing to change."""
    record = order.record
    where = f"{resource}.telecom.where(value = '{record.address}')"
    coding = {
        "system": "https://mos.esante.gouv.fr/NOS/TRE_R257-TypeBAL/FHIR/TRE-R257-TypeBAL",
        "code": record.type,
    }
    kind = {"system": "https://mos.esante.gouv.fr/NOS/TRE_R256-TypeMessagerie/FHIR/TRE-R256-TypeMessagerie"}
    metadata = [
        {"url": "type", "valueCodeableConcept": {"coding": [coding]}},
        {"url": "listeRouge", "valueBoolean": record.liste_rouge},
        *([{"url": "responsible", "valueString": record.responsable}] if record.responsable else []),
    ]
    contact = {
        "system": "email",
        "value": record.address,
        "extension": [
            {"url": KIND, "valueCoding": kind | {"code": "MSSANTE"}},
            {"url": METADATA, "extension": metadata},
        ],
    }
    parts: list[dict[str, Any]]
    if order.operation == WITHDRAW:
        if not there:
            return None
        parts = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": where}]
    elif there:
        parts = [
            {"name": "type", "valueCode": "replace"},
            {"name": "path", "valueString": where},
            {"name": "value", "valueContactPoint": contact},
        ]
    else:
        parts = [
            {"name": "type", "valueCode": "insert"},
            {"name": "path", "valueString": f"{resource}.telecom"},
            {"name": "index", "valueInteger": 0},
            {"name": "value", "valueContactPoint": contact},
        ]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
