"""`mssante annuaire`: each command, its exit codes, and what it shows."""

import csv
from pathlib import Path

import pytest

from tests.annuaire.fictive import HEADER, JEANNE_RPPS, LINES
from tests.mssante.cli.conftest import Operator

JEANNE = "jeanne.exemple@medecin.example.mssante.fr"


@pytest.fixture
def known(operator: Operator, tmp_path: Path) -> Operator:
    path = tmp_path / "extraction.txt"
    path.write_text("\n".join(LINES))
    ended = operator("annuaire", "import", str(path))
    assert (ended.code, ended.err) == (0, "")
    return operator


def test_nothing_is_known_at_first(operator: Operator) -> None:
    ended = operator("annuaire", "status", "--json")
    assert ended.code == 1
    assert (ended.json["fiches"], ended.json["source"], ended.json["age_seconds"]) == (0, None, None)
    assert ended.lines == [
        "mssante: annuaire: nothing was read so far: mssante annuaire import FILE, or name a [annuaire] source"
    ]
    assert operator("annuaire", "search", "jeanne").code == 1


def test_imported_searched_and_shown(known: Operator) -> None:
    status = known("annuaire", "status", "--json").json
    assert (status["source"], status["cursor"], status["fiches"]) == ("extraction", "extraction.txt", 3)
    assert (status["refused_rows"], status["refused"], status["alarm"]) == (0, [], None)
    (found,) = known("annuaire", "search", "jeane", "exemple", "--json").json
    assert (found["address"], found["identifier"], found["nom"]) == (JEANNE, JEANNE_RPPS, "EXEMPLE")
    for asked in (JEANNE, JEANNE_RPPS, "8" + JEANNE_RPPS):
        (shown,) = known("annuaire", "show", asked, "--json").json
        assert (shown["address"], shown["savoir_faire"], shown["dematerialisation"]) == (JEANNE, "SM26", True)
    assert JEANNE in known("annuaire", "show", JEANNE).out


def test_what_is_not_there(known: Operator) -> None:
    assert known("annuaire", "show", "nobody@x.mssante.fr").code == 1
    assert known("annuaire", "show", "durand").code == 2
    nobody = known("annuaire", "search", "zzzz", "--json")
    assert (nobody.code, nobody.json) == (1, [])


def test_a_file_that_would_empty_the_copy_is_refused(known: Operator, tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text(HEADER + "\n")
    ended = known("annuaire", "import", str(path), "--force")
    assert ended.code == 1
    assert ended.lines == [
        "mssante: annuaire: 0 lines read where 3 are known: look at the source; mssante annuaire sync --force takes"
        " what it says as it is; the copy at hand stays"
    ]
    assert known("annuaire", "status", "--json").json["problem"].startswith("0 lines read")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("import", "absent.zip"), "absent.zip: no such file"),
        (("sync",), "no source is configured"),
        (("sync", "--source", "csv"), "'csv' is not a source"),
        (("sync", "--source", "ldap"), "[annuaire_ldap] url"),
        (("publish",), "say how in [publication] to"),
    ],
)
def test_wrong_usage(operator: Operator, arguments: tuple[str, ...], told: str) -> None:
    ended = operator("annuaire", *arguments)
    assert ended.code == 2
    assert told in ended.lines[0]


def changed(operator: Operator, section: str, **values: str) -> None:
    """The configuration with these keys of that section."""
    path = operator.directory / "mssante.toml"
    before, _, after = path.read_text().partition(f"[{section}]\n")
    for key, value in values.items():
        after = after.replace(f"#{key} = ", f'{key} = "{value}"\n#', 1)
    path.write_text(f"{before}[{section}]\n{after}")


def test_a_source_that_was_never_read_is_an_alarm(operator: Operator) -> None:
    changed(operator, "annuaire", source="extraction", extraction_url="https://localhost:1/x")
    status = operator("annuaire", "status", "--json")
    assert (status.code, status.json["alarm"][:39]) == (1, "the source has not been read at all: no")
    assert any(row["check"] == "annuaire" for row in operator("doctor", "--json").json)


def test_own_mailboxes_are_published(operator: Operator) -> None:
    changed(operator, "publication", to="file")
    address = operator.bal()
    (row,) = operator("annuaire", "publish", "--json").json
    assert (row["address"], row["operation"], row["state"]) == (address, "publish", "sent")
    publication = operator.directory / "data" / "publication"
    assert len(list((publication / "depot").glob("*.csv"))) == 1
    (publication / "retour" / "cr.csv").write_text("Autre|Colonnes\n1|2\n")
    ended = operator("annuaire", "publish", "--json")
    assert (ended.code, ended.json[0]["state"]) == (1, "sent")
    assert "cr.csv: no column Message, Référence, Résultat: correct [publication] report" in ended.lines[0]
    assert operator("annuaire", "status", "--json").json["published"] == {"sent": 1}


def test_what_the_regulator_closes_is_withdrawn_and_comes_back(operator: Operator) -> None:
    changed(operator, "publication", to="file")
    address = operator.bal()
    depot = operator.directory / "data" / "publication" / "depot"
    seen: set[Path] = set()

    def told() -> list[tuple[str, str]]:
        """(operation, address) of what `annuaire publish` drops."""
        assert operator("annuaire", "publish").code == 0
        new = set(depot.glob("*.csv")) - seen
        seen.update(new)
        rows = [row for path in new for row in csv.DictReader(path.read_text().splitlines(), delimiter="|")]
        return [(row["Opération"], row["Adresse BAL"]) for row in rows]

    assert told() == [("publish", address)]
    assert operator("regulateur", "clore", address, "--motif", "envois en nombre").code == 0
    assert told() == [("withdraw", address)]
    (row,) = operator("annuaire", "publish", "--json").json
    assert (row["operation"], row["state"]) == ("withdraw", "sent")
    assert operator("regulateur", "rouvrir", address, "--motif", "recours").code == 0
    assert told() == [("publish", address)]
