"""Own mailboxes told to the national directory: by files, on the real store."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from annuaire.publication import FileDrop, Layout, Order, Outcome
from mssante.directory import pairs_of
from mssante.domain.address import parse_address
from mssante.domain.bal import BalType
from mssante.services.bals import close, open_bals, suspend
from mssante.services.publication import Policy, publish, states
from mssante.settings_people import Publication
from mssante.store import Store, Tx
from mssante.store.accounts import NewBal
from tests.annuaire.fictive import HOPITAL_FINESS, JEANNE_RPPS
from tests.mssante.services.conftest import Cabinet
from tests.support.clock import FakeClock

NOW = FakeClock().now_us()
DAY_US = 86_400_000_000
NEW = "jeanne@cabinet.mssante.example"


@pytest.fixture
def drop(tmp_path: Path) -> FileDrop:
    said = Publication()
    return FileDrop(tmp_path / "publication", Layout(pairs_of(said.layout), pairs_of(said.report)))


@pytest.fixture
def store(cabinet: Cabinet) -> Store:
    """With a PER and an ORG that can be told, one PER in liste rouge, and what the cabinet has: nothing tellable."""
    new = [
        NewBal(address=NEW, type=BalType.PER, rpps=JEANNE_RPPS, nom="EXEMPLE", prenom="Jeanne"),
        NewBal(address="org@cabinet.mssante.example", type=BalType.ORG, finess=HOPITAL_FINESS, nom="Accueil | 2"),
        NewBal(address="rouge@cabinet.mssante.example", type=BalType.PER, rpps=JEANNE_RPPS, liste_rouge=True),
    ]
    cabinet.store.write_now(open_bals, new, "test")
    return cabinet.store


def files(tmp_path: Path) -> list[list[dict[str, str]]]:
    """What lies in the depot, file by file."""
    paths = sorted((tmp_path / "publication" / "depot").glob("*.csv"))
    return [list(csv.DictReader(path.read_text().splitlines(), delimiter="|")) for path in paths]


def standing(store: Store) -> dict[str, str]:
    return {row["address"].partition("@")[0]: row["state"] for row in store.read_now(states)}


def answer(tmp_path: Path, *rows: tuple[str, str, str], name: str = "cr.csv") -> None:
    lines = ["Référence|Résultat|Message", *("|".join(row) for row in rows)]
    (tmp_path / "publication" / "retour").mkdir(parents=True, exist_ok=True)
    (tmp_path / "publication" / "retour" / name).write_text("\r\n".join(lines))


async def test_told_once_answered_and_shown(store: Store, drop: FileDrop, tmp_path: Path) -> None:
    for _ in range(2):
        assert await publish(store, drop, Policy(), NOW) == []
    (rows,) = files(tmp_path)
    assert [(row["Opération"], row["Adresse BAL"].partition("@")[0]) for row in rows] == [
        ("publish", "jeanne"),
        ("publish", "org"),
    ]
    assert (rows[0]["Identifiant PP"], rows[1]["Identifiant structure"]) == ("8" + JEANNE_RPPS, "1" + HOPITAL_FINESS)
    assert rows[1]["Nom"] == "Accueil | 2"
    shown = standing(store)
    assert (shown["jeanne"], shown["org"], shown["rouge"], shown["secretariat"]) == (
        "sent",
        "sent",
        "never",
        "rejected",
    )
    assert not any("@patient" in row["address"] for row in store.read_now(states))

    answer(tmp_path, (rows[0]["Référence"], "OK", ""), (rows[1]["Référence"], "KO", "structure inconnue"))
    assert await publish(store, drop, Policy(), NOW) == []
    assert (standing(store)["jeanne"], standing(store)["org"]) == ("published", "rejected")
    (org,) = (row for row in store.read_now(states) if row["address"].startswith("org@"))
    assert org["report"] == "KO structure inconnue"
    assert [path.name for path in (tmp_path / "publication" / "retour").iterdir()] == ["lus"]
    assert len(files(tmp_path)) == 1, "what was refused is not told again until it changes"


async def test_closing_withdraws_and_suspending_does_not(store: Store, drop: FileDrop, tmp_path: Path) -> None:
    await publish(store, drop, Policy(), NOW)
    address = parse_address(NEW)
    await store.write(suspend, address, "congés", "test")
    await publish(store, drop, Policy(), NOW + 1)
    assert len(files(tmp_path)) == 1
    await store.write(close, address, "départ", "test")
    await publish(store, drop, Policy(), NOW + 2_000_000)
    ((_, _), (row,)) = files(tmp_path)
    assert (row["Opération"], row["Adresse BAL"]) == ("withdraw", NEW)
    answer(tmp_path, (row["Référence"], "ok", ""))
    await publish(store, drop, Policy(), NOW + 3_000_000)
    assert standing(store)["jeanne"] == "withdrawn"
    assert len(files(tmp_path)) == 2


async def test_liste_rouge_is_flagged_when_the_operator_says_so(store: Store, drop: FileDrop, tmp_path: Path) -> None:
    await publish(store, drop, Policy(flag_liste_rouge=True), NOW)
    (rows,) = files(tmp_path)
    assert {row["Adresse BAL"].partition("@")[0]: row["Liste rouge"] for row in rows}["rouge"] == "O"
    await publish(store, drop, Policy(), NOW + 1_000_000)
    assert [(row["Opération"], row["Adresse BAL"][:5]) for row in files(tmp_path)[1]] == [("withdraw", "rouge")]


async def test_silence_is_asked_again_under_the_same_reference(store: Store, drop: FileDrop, tmp_path: Path) -> None:
    await publish(store, drop, Policy(), NOW)
    await publish(store, drop, Policy(silence_us=DAY_US), NOW + DAY_US - 1_000_000)
    assert len(files(tmp_path)) == 1
    await publish(store, drop, Policy(silence_us=DAY_US), NOW + DAY_US)
    first, second = files(tmp_path)
    assert first == second


class Broken:
    """A way that is out of order until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.told: list[str] = []

    def deliver(self, orders: Sequence[Order], now: str) -> list[Outcome]:
        if not self.mended:
            raise OSError("no room")
        self.told += [order.reference for order in orders]
        return [Outcome(order.reference, "published") for order in orders]

    def answers(self) -> list[Outcome]:
        return []

    def settle(self) -> None:
        pass


async def test_what_fails_waits_and_is_tried_again(store: Store) -> None:
    way = Broken()
    assert await publish(store, way, Policy(), NOW) == [("nothing could be told: no room", True)]
    assert standing(store)["jeanne"] == "pending"
    way.mended = True
    assert await publish(store, way, Policy(), NOW + 59_000_000) == []
    assert way.told == []
    assert await publish(store, way, Policy(), NOW + 60_000_000) == []
    assert len(way.told) == 2
    assert standing(store)["jeanne"] == "published"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"Autre|Colonnes\r\n1|2\r\n"])
async def test_an_answer_that_is_none_is_told_and_stays(
    store: Store, drop: FileDrop, tmp_path: Path, content: bytes
) -> None:
    answer(tmp_path, name="bad.csv")
    (tmp_path / "publication" / "retour" / "bad.csv").write_bytes(content)
    (problem,) = await publish(store, drop, Policy(), NOW)
    assert "bad.csv" in problem.text and not problem.unreachable
    (told,) = files(tmp_path)
    assert len(told) == 2, "what is to be told is told all the same"
    answer(tmp_path, (told[0]["Référence"], "OK", ""), name="good.csv")
    (problem,) = await publish(store, drop, Policy(), NOW)
    assert "bad.csv" in problem.text and not problem.unreachable
    assert standing(store)["jeanne"] == "published", "one file that is no answer holds no other up"
    left = sorted(path.name for path in (tmp_path / "publication" / "retour").iterdir())
    assert left == ["bad.csv", "lus"]


async def test_an_answer_about_nothing_is_told(store: Store, drop: FileDrop, tmp_path: Path) -> None:
    answer(tmp_path, ("99-nobody", "OK", ""))
    assert await publish(store, drop, Policy(), NOW) == [("1 answers are about nothing that was told last", False)]


async def test_a_mailbox_that_gets_its_structure_is_told(store: Store, drop: FileDrop, tmp_path: Path) -> None:
    await publish(store, drop, Policy(), NOW)

    def completed(tx: Tx) -> None:
        from mssante.store.schema import bal

        tx.conn.execute(bal.update().where(bal.c.locator.like("secretariat@%")).values(finess=HOPITAL_FINESS))

    await store.write(completed)
    await publish(store, drop, Policy(), NOW + 1_000_000)
    assert [row["Opération"] for row in files(tmp_path)[1]] == ["publish"]
