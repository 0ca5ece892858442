"""`mssante patient` and `mssante conversation`."""

import pytest

from mssante.domain.exchange import ExchangeState
from mssante.store import Store, Tx
from mssante.store.exchanges import record_exchange
from mssante.store.journal import entries
from tests.mssante.cli.conftest import INS, TRAITS, Operator


def test_a_citizens_mailbox(operator: Operator, store: Store) -> None:
    notify = ("--notify", "jeanne@example.org", "--password-stdin")
    assert operator("patient", "create", INS, *TRAITS, *notify, given="secret\n").code == 0
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
    from mssante.domain.ins import ins_key

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
