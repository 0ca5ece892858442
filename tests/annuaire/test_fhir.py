"""The FHIR API as a source, and as the way to publish, against a local server of the documented shape."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annuaire.fhir import Calls, FhirReading
from annuaire.publication import FhirPatch, Order, Published
from annuaire.source import Entry, Fhir, SourceError
from mssante.domain.annuaire import Fault
from tests.annuaire.fictive import HOPITAL_FINESS, JEANNE_RPPS
from tests.support.fhir_api import KEY, Api, serving, telecom

ID_PS = "urn:oid:1.2.250.1.71.4.2.1"


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as running:
        yield running


@pytest.fixture
def spec(api: Api, tmp_path: Path) -> Fhir:
    (tmp_path / "key").write_text(f"{KEY}\n")
    return Fhir(url=api.url, key_file=str(tmp_path / "key"), per_second=10_000, timeout_s=5)


def practitioner(number: int, *telecoms: dict[str, Any], updated: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {
        "resourceType": "Practitioner",
        "id": str(number),
        "active": True,
        "meta": {"lastUpdated": updated},
        "identifier": [{"system": ID_PS, "value": "8" + JEANNE_RPPS}],
        "name": [{"family": "EXEMPLE", "given": ["Jeanne"], "prefix": ["DR"]}],
        "qualification": [
            {"code": {"coding": [{"system": ".../TRE_G15-ProfessionSante", "code": "10", "display": "Médecin"}]}},
            {"code": {"coding": [{"system": ".../TRE_R38-Specialite", "code": "SM26", "display": "Cardiologie"}]}},
        ],
        "telecom": list(telecoms),
    }


def organization(*telecoms: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "id": "1",
        "meta": {"lastUpdated": "2026-01-01T00:00:00Z"},
        "identifier": [{"system": "https://finess.esante.gouv.fr", "value": HOPITAL_FINESS}],
        "name": "HOPITAL EXEMPLE",
        "address": [{"line": ["12 RUE DES LILAS"], "city": "VILLE-EXEMPLE", "postalCode": "75000"}],
        "telecom": list(telecoms),
    }


def read(spec: Fhir, since: str = "") -> tuple[FhirReading, list[Entry], list[Fault]]:
    reading = FhirReading(spec)
    said = list(reading.read(since))
    return reading, [one for one in said if isinstance(one, Entry)], [one for one in said if isinstance(one, Fault)]


def test_every_page_of_every_resource_is_read(api: Api, spec: Fhir) -> None:
    api.resources["Practitioner"] = [practitioner(number, telecom(f"j{number}@x.fr")) for number in range(5)]
    api.resources["Organization"] = [organization(telecom("org@x.fr", "ORG"))]
    reading, entries, faults = read(spec)
    assert (len(entries), faults, reading.whole) == (6, [], True)
    (jeanne,), (org,) = entries[0].fiches, entries[-1].fiches
    assert (jeanne.holder, jeanne.name, jeanne.type_bal) == ("8" + JEANNE_RPPS, ("EXEMPLE", "Jeanne"), "PER")
    assert (jeanne.profession.libelle, jeanne.profession.savoir_faire_libelle) == ("Médecin", "Cardiologie")
    assert org.structure is not None
    assert (org.structure.kind, org.structure.number, org.structure.code_postal) == ("1", HOPITAL_FINESS, "75000")
    assert [call[1].rsplit("/", 1)[-1] for call in api.calls] == ["Practitioner"] * 3 + [
        "PractitionerRole",
        "Organization",
    ]


@pytest.mark.parametrize("form", [0, 1, 2])
def test_both_codings_of_the_type_are_read(api: Api, spec: Fhir, form: int) -> None:
    api.resources["Practitioner"] = [practitioner(1, telecom("cab@x.fr", "CAB", form=form))]
    assert [fiche.type_bal for entry in read(spec)[1] for fiche in entry.fiches] == ["CAB"]


def test_liste_rouge_other_telecoms_and_inactive_people_give_no_fiche(api: Api, spec: Fhir) -> None:
    phone = {"system": "phone", "value": "0100000000"}
    private = {"system": "email", "value": "me@example.com"}
    gone = practitioner(2, telecom("gone@x.fr")) | {"active": False}
    api.resources["Practitioner"] = [practitioner(1, phone, private, telecom("r@x.fr", rouge=True)), gone]
    assert [(entry.origin, entry.fiches) for entry in read(spec)[1]] == [("Practitioner/1", ()), ("Practitioner/2", ())]


def test_changes_alone_are_asked_for_with_the_cursor(api: Api, spec: Fhir) -> None:
    new = practitioner(2, telecom("b@x.fr"), updated="2026-06-01T00:00:00Z")
    api.resources["Practitioner"] = [practitioner(1, telecom("a@x.fr")), new]
    reading, entries, _ = read(spec, "2026-05-01T00:00:00Z")
    assert not reading.whole
    assert [entry.origin for entry in entries] == ["Practitioner/2"]
    assert api.calls[0][2]["_lastUpdated"] == ["ge2026-05-01T00:00:00Z"]
    assert reading.cursor > "2026-05-01T00:00:00Z"


@pytest.mark.parametrize(
    "broken",
    [
        {"telecom": "none"},
        {"telecom": [telecom("not an address")]},
        {"telecom": [telecom("a@x.fr", "XXX")]},
        {"name": [1]},
        {"identifier": [None]},
    ],
)
def test_a_resource_of_another_shape_is_a_fault(api: Api, spec: Fhir, broken: dict[str, Any]) -> None:
    api.resources["Practitioner"] = [practitioner(1, telecom("a@x.fr")) | broken, practitioner(2, telecom("b@x.fr"))]
    _, entries, faults = read(spec)
    assert [entry.origin for entry in entries] == ["Practitioner/2"]
    assert [fault.place for fault in faults] == ["Practitioner/1"]


@pytest.mark.parametrize(
    ("answer", "told", "again"),
    [
        ((401, {}, b"{}"), "the key is refused", False),
        ((503, {}, b""), "answered 503", True),
        ((200, {}, b"<html>"), "not JSON", True),
        ((200, {}, b'{"resourceType": "OperationOutcome"}'), "not a Bundle", False),
    ],
)
def test_refusals_are_named(
    api: Api, spec: Fhir, answer: tuple[int, dict[str, str], bytes], told: str, again: bool
) -> None:
    api.answers.append(answer)
    with pytest.raises(SourceError, match=told) as error:
        read(spec)
    assert error.value.again is again


def test_the_key_does_not_leave_the_host(api: Api, spec: Fhir) -> None:
    api.resources["Practitioner"] = [practitioner(number) for number in range(5)]
    api.elsewhere = "http://localhost:1/fhir"
    with pytest.raises(SourceError, match="elsewhere"):
        read(spec)


def test_no_more_calls_a_second_than_permitted(api: Api, spec: Fhir) -> None:
    """A clock that only sleeping moves: the calls of each second are counted on it."""
    now = [0.0]
    at: list[float] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    calls = Calls(Fhir(url=spec.url, key_file=spec.key_file, per_second=3), lambda: now[0], sleep)
    for _ in range(10):
        calls("GET", f"{spec.url}/Practitioner")
        at.append(now[0])
    calls.close()
    assert at == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_the_server_may_ask_to_wait(api: Api, spec: Fhir) -> None:
    slept: list[float] = []
    api.answers += [(429, {"Retry-After": "7"}, b""), (429, {}, b"")]
    calls = Calls(spec, sleep=slept.append)
    assert calls("GET", f"{spec.url}/Practitioner").status_code == 200
    assert slept == [7, 1]
    api.answers += [(429, {}, b"")] * 5
    with pytest.raises(SourceError, match="too many calls"):
        calls("GET", f"{spec.url}/Practitioner")
    calls.close()


# Publishing


def order(operation: str, **more: Any) -> Order:
    record = Published(**({"address": "new@x.fr", "type": "PER", "id_pp": "8" + JEANNE_RPPS} | more))
    return Order(1, operation, "1-abc", record)


def test_publish_update_withdraw_and_each_of_them_twice(api: Api, spec: Fhir) -> None:
    person = practitioner(1, telecom("old@x.fr"))
    api.resources["Practitioner"] = [person]
    way = FhirPatch(spec)

    def done(operation: str, **more: Any) -> list[str]:
        (outcome,) = way.deliver([order(operation, **more)], "20260101000000")
        assert outcome.state == "published", outcome
        return [one["value"] for one in person["telecom"]]

    assert [done("publish"), done("publish")] == [["new@x.fr", "old@x.fr"]] * 2
    assert done("update", liste_rouge=True) == ["new@x.fr", "old@x.fr"]
    assert {"url": "listeRouge", "valueBoolean": True} in person["telecom"][0]["extension"][1]["extension"]
    assert [done("withdraw"), done("withdraw")] == [["old@x.fr"]] * 2


def test_a_structure_is_found_by_its_finess(api: Api, spec: Fhir) -> None:
    api.resources["Organization"] = [organization()]
    told = order("publish", type="ORG", id_pp="", id_structure="1" + HOPITAL_FINESS)
    assert FhirPatch(spec).deliver([told], "")[0].state == "published"
    assert len(api.resources["Organization"][0]["telecom"]) == 1


def test_what_cannot_be_told_is_rejected_or_waits(api: Api, spec: Fhir) -> None:
    way = FhirPatch(spec)
    (nobody,) = way.deliver([order("publish")], "")
    assert (nobody.state, nobody.report[:18]) == ("rejected", "0 Practitioner hav")
    api.resources["Practitioner"] = [practitioner(1), practitioner(2)]
    assert way.deliver([order("publish")], "")[0].state == "rejected"
    api.resources["Practitioner"] = [practitioner(1)]
    api.answers.append((503, {}, b"later"))
    (later,) = way.deliver([order("publish")], "")
    assert (later.state, later.report) == ("pending", "503 later")
    away = FhirPatch(Fhir(url="http://127.0.0.1:1/fhir", per_second=1000))
    assert away.deliver([order("publish")], "")[0].state == "pending"
