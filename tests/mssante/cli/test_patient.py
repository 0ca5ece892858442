"""`mssante patient` and `mssante conversation`."""

from pathlib import Path

import pytest

from mssante.domain.exchange import ExchangeState
from mssante.domain.ins import ins_key
from mssante.store import Store, Tx
from mssante.store.exchanges import introduce, record_exchange
from mssante.store.journal import entries
from tests.mssante.cli.conftest import INS, TRAITS, Operator


def test_a_citizens_mailbox(operator: Operator, store: Store) -> None:
    notify = ("--notify", "jeanne@example.org", "--password-stdin")
    assert operator("patient", "create", INS, *TRAITS, *notify, given="un secret\n").code == 0
    (row,) = operator("patient", "list", "--json").json
    assert row.pop("created").endswith("Z")
    assert row == {
        "ins": INS,
        "address": f"{INS}@patient.mssante.fr",
        "state": "active",
        "standing": "open",
        "nom": "DURAND",
        "prenoms": "Jeanne Marie",
        "used_bytes": 0,
        "quota_bytes": None,
    }
    shown = operator("patient", "show", f"{INS}@patient.mssante.fr", "--json").json
    assert {shown[key] for key in ("naissance", "sexe", "lieu", "notify")} == {
        *("1999-01-15", "F", "75115", "jeanne@example.org")
    }
    assert INS not in "".join(f"{entry.object} {entry.detail}" for entry in store.read_now(entries))


def test_one_mailbox_a_citizen_and_closing(operator: Operator) -> None:
    assert operator("patient", "create", INS, *TRAITS).code == 0
    again = operator("patient", "create", INS, *TRAITS)
    assert (again.code, len(again.lines)) == (1, 1)
    assert again.err == "mssante: a mailbox for this INS exists already: see mssante patient show\n"
    assert operator("patient", "close", INS, "--motif", "demande").code == 0
    assert operator("patient", "show", INS, "--json").json["state"] == "closed"
    assert operator("patient", "close", INS, "--motif", "demande").code == 1


@pytest.mark.parametrize(
    ("ins", "traits", "says"),
    [
        (INS[:-2] + "98", TRAITS, "INS"),
        (INS[:-1], TRAITS, "INS"),
        (f"{INS}@other.test", TRAITS, "INS"),
        (INS, ("--nom", " ", *TRAITS[2:]), "--nom"),
        (INS, (*TRAITS[:4], "--naissance", "1999-02-30", *TRAITS[6:]), "--naissance"),
        (INS, (*TRAITS[:4], "--naissance", "19990215", *TRAITS[6:]), "--naissance"),
        (INS, (*TRAITS[:4], "--naissance", "2999-01-15", *TRAITS[6:]), "--naissance 2999-01-15: is still to come"),
        (INS, (*TRAITS[:6], "--sexe", "I", *TRAITS[8:]), "--sexe"),
        (INS, (*TRAITS[:8], "--lieu", "Paris"), "--lieu"),
        (INS, (*TRAITS, "--notify", "nobody"), "not an address"),
    ],
)
def test_wrong_identity(operator: Operator, ins: str, traits: tuple[str, ...], says: str) -> None:
    ended = operator("patient", "create", ins, *traits)
    assert ended.code == 2
    (line,) = ended.lines
    assert says in line


def test_corsica(operator: Operator) -> None:
    matricule = f"299012A004001{ins_key('299012A004001'):02d}"
    assert operator("patient", "create", matricule.lower(), *TRAITS[:8], "--lieu", "2a004").code == 0
    assert operator("patient", "show", matricule, "--json").json["lieu"] == "2A004"


def test_an_operator_without_citizens(operator: Operator) -> None:
    file = operator.directory / "mssante.toml"
    file.write_text(file.read_text().replace('patient_domain = "patient.mssante.fr"', 'patient_domain = ""'))
    ended = operator("patient", "create", INS, *TRAITS)
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert "hosts no citizens" in ended.err


def test_an_unknown_citizen(operator: Operator) -> None:
    assert operator("patient", "show", INS).code == 1
    assert operator("patient", "close", INS, "--motif", "x").code == 1


def test_conversations(operator: Operator, store: Store) -> None:
    patient = f"{INS}@patient.mssante.fr"

    def happened(tx: Tx) -> None:
        record_exchange(tx, "a@cabinet.test", patient, ExchangeState.OPEN, "<1@cabinet.test>")
        record_exchange(tx, "b@cabinet.test", patient, ExchangeState.ENDED, "<2@cabinet.test>")

    store.write_now(happened)
    rows = operator("conversation", "list", "--json").json
    assert [(row["professional"], row["state"], row["message_id"]) for row in rows] == [
        ("a@cabinet.test", "open", "<1@cabinet.test>"),
        ("b@cabinet.test", "ended", "<2@cabinet.test>"),
    ]
    assert rows[0]["patient"] == patient
    assert len(operator("conversation", "list", "--json", "--patient", INS).json) == 2
    (one,) = operator("conversation", "list", "--json", "--bal", "b@cabinet.test", "--patient", INS).json
    assert one["state"] == "ended"
    assert operator("conversation", "list", "--patient", "12").code == 2
    assert operator("conversation", "list", "--bal", "12").code == 2
    assert "a@cabinet.test" in operator("conversation", "list").out


def matricule(number: int) -> str:
    root = f"2990175{number:06d}"
    return f"{root}{ins_key(root):02d}"


def test_traits_oid_and_opposition(operator: Operator) -> None:
    child = matricule(5)
    more = ("--autorite", "nia", "--opposition")
    assert operator("patient", "create", child, *TRAITS, *more).code == 0
    shown = operator("patient", "show", child, "--json").json
    assert (shown["autorite"], shown["oid"]) == ("NIA", "1.2.250.1.213.1.4.9")
    assert (shown["state"], shown["standing"], shown["earlier"], shown["parents"]) == ("draft", "opposed", [], [])
    assert operator("patient", "reopen", child, "--motif", "il le veut").code == 0
    assert operator("patient", "show", child, "--json").json["standing"] == "open"
    wrong = operator("patient", "create", matricule(6), *TRAITS, "--autorite", "INSC")
    assert (wrong.code, wrong.err) == (2, "mssante: patient create: --autorite INSC: one of NIR, NIA, TEST, DEMO\n")


def test_a_matricule_changes_and_the_earlier_one_still_leads_there(operator: Operator, store: Store) -> None:
    before, after = matricule(1), matricule(2)
    assert operator("patient", "create", before, *TRAITS, "--autorite", "NIA").code == 0
    store.write_now(
        record_exchange, "a@cabinet.test", f"{before}@patient.mssante.fr", ExchangeState.OPEN, "<1@cabinet.test>"
    )
    change = ("patient", "matricule", before, "--nouveau", after, "--motif", "NIR attribue")
    assert operator(*change).code == 0
    assert operator(*change).code == 1
    for ins in (before, after):
        shown = operator("patient", "show", ins, "--json").json
        assert (shown["ins"], shown["autorite"]) == (after, "NIR")
        (one,) = operator("conversation", "list", "--patient", ins, "--json").json
        assert one["patient"] == f"{after}@patient.mssante.fr"
    (earlier,) = shown["earlier"]
    assert earlier["address"] == f"{before}@patient.mssante.fr"
    assert operator("patient", "create", before, *TRAITS).code == 1
    assert operator("patient", "matricule", matricule(7), "--nouveau", matricule(8), "--motif", "x").code == 1
    assert operator("patient", "matricule", after, "--nouveau", "12", "--motif", "x").code == 2
    journal = "".join(f"{entry.object} {entry.detail}" for entry in store.read_now(entries))
    assert before not in journal and after not in journal


def test_opposition_death_and_closing_are_told_apart(operator: Operator) -> None:
    ins = matricule(1)
    operator("patient", "create", ins, *TRAITS)
    for command, standing in (("opposition", "opposed"), ("close", "closed"), ("deces", "deceased")):
        assert operator("patient", command, ins).code == 2
        assert operator("patient", command, ins, "--motif", " ").code == 1
        assert operator("patient", command, ins, "--motif", "essai").code == 0
        assert operator("patient", "show", ins, "--json").json["standing"] == standing
        assert operator("patient", command, ins, "--motif", "essai").code == 1
    assert operator("patient", "reopen", ins, "--motif", "erreur").code == 0
    assert operator("patient", "show", ins, "--json").json["state"] == "active"
    assert operator("patient", "reopen", ins, "--motif", "erreur").code == 1
    assert operator("patient", "purge", ins, "--motif", "delai").code == 1
    operator("patient", "deces", ins, "--motif", "essai")
    assert operator("patient", "purge", ins, "--motif", "delai").code == 0
    assert operator("patient", "purge", ins, "--motif", "delai").code == 1
    assert [operator("patient", "show", ins, "--json").json[key] for key in ("standing", "nom")] == ["deceased", ""]
    assert operator("patient", "deces", matricule(2), "--motif", "essai").code == 1


def test_parents_of_a_child(operator: Operator) -> None:
    child, parent = matricule(1), matricule(2)
    born = (*TRAITS[:4], "--naissance", "2020-06-01", *TRAITS[6:])
    operator("patient", "create", child, *born)
    operator("patient", "create", parent, *TRAITS)
    given = ("patient", "parent", child, "--parent", parent)
    assert operator(*given).code == 0
    (one,) = operator("patient", "show", child, "--json").json["parents"]
    assert one == {"address": f"{parent}@patient.mssante.fr", "until": "2038-06-01T00:00:00Z"}
    assert operator("patient", "parent", parent, "--parent", child).code == 1
    assert operator(*given, "--remove").code == 0
    assert operator(*given, "--remove").code == 1
    assert operator("patient", "show", child, "--json").json["parents"] == []


def test_where_a_citizen_is_told_of_new_mail(operator: Operator) -> None:
    ins = matricule(1)
    operator("patient", "create", ins, *TRAITS)
    noted = operator("patient", "notify", ins, "--email", "jeanne@example.org")
    assert (noted.code, "names no host" in noted.out) == (0, True), "no relay is set: nothing is promised"
    assert operator("patient", "show", ins, "--json").json["notify"] == "jeanne@example.org"
    assert operator("patient", "notify", ins, "--email", "").code == 0
    assert operator("patient", "show", ins, "--json").json["notify"] is None
    for wrong in ("jeanne", "jeanne@", "zo\u00e9@example.org"):
        assert operator("patient", "notify", ins, "--email", wrong).code == 2


HEAD = "ins;nom;prenoms;naissance;sexe;lieu;autorite;opposition;notify;password\n"


def test_an_import_opens_all_or_none(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "citoyens.csv"
    good = [f"{matricule(number)};DURAND;Jeanne;1999-01-15;F;75115;;;;" for number in range(1200)]
    good[1] = f"{matricule(1)};DURAND;L\u00e9o;2020-01-15;m;2A004;NIA;oui;;"
    good[2] = f"{matricule(2)};DURAND;L\u00e9a;2020-01-15;f;75115;nir;non;lea@example.org;un mot de passe"
    wrong = [
        *good[:3],
        f"{matricule(2)};A;B;1999-01-15;F;75115;;;;",
        f"{matricule(3)[:-2]}00;A;B;1999-01-15;F;75115;;;;",
        f"{matricule(4)};;B;19990115;X;Paris;INSC;peut-etre;jeanne;",
        "trop;peu",
    ]
    file.write_text(HEAD + "\n".join(wrong) + "\n")
    ended = operator("patient", "import", str(file))
    assert ended.code == 1
    said = "\n".join(ended.lines)
    for told in (
        f"{file}:5: address:",
        f"{file}:6: INS: malformed",
        *(f"{file}:7: {name}" for name in ("nom", "naissance", "sexe", "lieu", "autorite", "opposition", "notify")),
        f"{file}:8: 2 fields under 10 columns",
    ):
        assert told in said
    assert operator("patient", "list", "--json").json == []
    file.write_text(HEAD + "\n".join(good) + "\n")
    assert operator("patient", "import", str(file), "--json").json == {"opened": 1200}
    listed = operator("patient", "list", "--json").json
    assert [one["ins"] for one in listed] == [matricule(number) for number in range(1200)]
    assert len(operator("patient", "list").out.splitlines()) == 1201
    assert [operator("patient", "show", matricule(1), "--json").json[key] for key in ("sexe", "lieu", "standing")] == [
        *("M", "2A004", "opposed")
    ]
    again = operator("patient", "import", str(file))
    assert (again.code, len(again.lines)) == (1, 1201)
    file.write_text("ins;nom\n")
    assert operator("patient", "import", str(file)).code == 2


def test_who_may_write_and_why(operator: Operator, store: Store) -> None:
    assert operator("bal", "create", "pharmacie@cabinet.test", "--type", "ORG").code == 0
    operator("patient", "create", INS, *TRAITS)
    patient = f"{INS}@patient.mssante.fr"
    show = ("conversation", "show", "pharmacie@cabinet.test", INS)
    assert operator(*show).code == 1
    assert operator("conversation", "accueil", "pharmacie@cabinet.test").code == 0
    assert operator("conversation", "accueil", "pharmacie@cabinet.test").code == 1
    assert operator("conversation", "accueil", "--json").json == [{"bal": "pharmacie@cabinet.test"}]
    shown = operator(*show, "--json").json
    assert shown == {
        "professional": "pharmacie@cabinet.test",
        "may_write": True,
        "writes_first": True,
        "exchanges": [],
    }

    def happened(tx: Tx) -> None:
        record_exchange(tx, "a@cabinet.test", patient, ExchangeState.OPEN, "<1@cabinet.test>")
        introduce(tx, ["b@cabinet.test"], patient, through="a@cabinet.test", message_id="<1@cabinet.test>")
        record_exchange(tx, "pharmacie@cabinet.test", patient, ExchangeState.ENDED, "<2@cabinet.test>")

    store.write_now(happened)
    shown = operator(*show, "--json").json
    assert (shown["may_write"], [one["state"] for one in shown["exchanges"]]) == (False, ["ended"])
    (copied,) = operator("conversation", "show", "b@cabinet.test", INS, "--json").json["exchanges"]
    assert (copied["state"], copied["through"]) == ("open", "a@cabinet.test")
    assert operator("conversation", "accueil", "pharmacie@cabinet.test", "--remove").code == 0
    assert operator("conversation", "accueil", "nobody@cabinet.test").code == 1
    assert operator("conversation", "accueil", patient).code == 1
