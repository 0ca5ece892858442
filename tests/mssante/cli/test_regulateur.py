"""`mssante regulateur`, `audit`, `verify`, `doctor`, `pki`: the operator's own surveillance."""

import socket
import subprocess
from pathlib import Path

import pytest

from mssante.store import Store
from mssante.store.regulateur import Kind, report
from tests.mssante.cli.conftest import INS, TRAITS, Operator, Run
from tests.support.operators import free_ports


def test_closing_and_reopening(operator: Operator) -> None:
    address = operator.bal()
    assert operator("regulateur", "rouvrir", address).code == 1
    assert operator("regulateur", "clore", address, "--motif", "envois en nombre").code == 0
    shown = operator("bal", "show", address, "--json").json
    assert (shown["state"], shown["motif"]) == ("closed", "envois en nombre")
    assert operator("bal", "reopen", address).code == 1
    assert operator("regulateur", "clore", address, "--motif", "x").code == 1
    assert operator("regulateur", "rouvrir", address, "--motif", "recours").code == 0
    assert operator("bal", "show", address, "--json").json["state"] == "active"
    acts = operator("regulateur", "journal", "--json").json
    assert [(act["action"], act["account"], act["motif"]) for act in acts] == [
        ("bal.closed", address, "envois en nombre"),
        ("bal.reopened", address, "recours"),
    ]
    assert all(act["actor"].startswith("regulateur:") for act in acts)


def test_what_its_operator_closed_stays_closed(operator: Operator) -> None:
    address = operator.bal()
    operator("bal", "close", address, "--motif", "départ")
    ended = operator("regulateur", "rouvrir", address)
    assert (ended.code, len(ended.lines)) == (1, 1)
    assert operator("regulateur", "journal", "--json").json == []


def test_a_citizens_account(operator: Operator) -> None:
    operator("patient", "create", INS, *TRAITS)
    assert operator("regulateur", "clore", f"{INS}@patient.mssante.fr", "--motif", "abus").code == 0
    assert INS not in operator("regulateur", "journal").out


def test_a_motif_is_needed(operator: Operator) -> None:
    assert operator("regulateur", "clore", operator.bal()).code == 2
    assert operator("regulateur", "clore", "nobody@cabinet.test", "--motif", "x").code == 1


def test_signalements_and_facts(operator: Operator, store: Store) -> None:
    address = operator.bal()
    operator("patient", "create", INS, *TRAITS)
    store.write_now(report, address, Kind.JUNK, f"{INS}@patient.mssante.fr", "message 1")
    store.write_now(report, "x@ailleurs.test", Kind.PHISHING, address, "message 2")
    assert [
        (one["account"], one["kind"], one["reporter"]) for one in operator("regulateur", "signalements", "--json").json
    ] == [(address, "indesirable", f"{INS}@patient.mssante.fr"), ("x@ailleurs.test", "hameconnage", address)]
    facts = operator("regulateur", "examine", address, "--json").json
    assert (facts["account"], facts["state"], facts["reporters"]) == (address, "active", 1)
    assert facts["sent_today"] == {"messages": 0, "recipients": 0, "new_recipients": 0}
    assert operator("regulateur", "examine", "x@ailleurs.test", "--json").json["state"] is None
    assert operator("regulateur", "clore", address, "--motif", "x").code == 0
    assert len(operator("regulateur", "signalements", "--json").json) == 1
    assert len(operator("regulateur", "signalements", "--all", "--json").json) == 2


def test_exceptions(operator: Operator) -> None:
    address = operator.bal()
    allow = ("regulateur", "exception", address, "--motif", "alerte", "--most", "500", "--author", "a.regul")
    assert operator(*allow, "--until", "2099-12-31").code == 0
    [one] = operator("regulateur", "exceptions", "--json").json
    assert (one["sender"], one["most"], one["until"], one["author"]) == (
        address,
        500,
        "2099-12-31T23:59:59Z",
        "regulateur:a.regul",
    )
    assert operator("regulateur", "examine", address, "--json").json["exception_most"] == 500
    assert operator("regulateur", "exception", address, "--motif", "finie", "--end").code == 0
    assert operator("regulateur", "examine", address, "--json").json["exception_most"] is None
    assert [act["action"] for act in operator("regulateur", "journal", "--json").json] == [
        "regulateur.exception",
        "regulateur.exception_ended",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--until", "2001-01-01"), 1),
        (("--until", "demain"), 2),
        (("--until", "10000-01-01"), 2),
        ((), 2),
        (("--end",), 1),
        (("--until", "2099-12-31", "--most", "0"), 2),
        (("--until", "2099-12-31", "--author", " a"), 2),
        (("--until", "2099-12-31", "--author", "a\nb"), 2),
    ],
)
def test_exceptions_refused(operator: Operator, arguments: tuple[str, ...], code: int) -> None:
    ended = operator("regulateur", "exception", operator.bal(), "--motif", "x", *arguments)
    assert ended.code == code
    assert operator("regulateur", "exceptions", "--json").json == []


def test_text_that_is_no_unicode_is_refused(operator: Operator) -> None:
    """As octets of another encoding arrive from a shell."""
    for command in (("bal", "close"), ("regulateur", "clore")):
        ended = operator(*command, "a@cabinet.test", "--motif", "cong\udce9")
        assert (ended.code, len(ended.lines)) == (2, 1)


def test_two_persons(operator: Operator) -> None:
    file = operator.directory / "mssante.toml"
    file.write_text(file.read_text().replace("#two_persons = false", "two_persons = true"))
    address = operator.bal()
    clore = ("regulateur", "clore", address, "--motif", "abus", "--author")
    assert operator(*clore, "a").out.startswith("proposed")
    assert operator("regulateur", "rouvrir", address, "--motif", "erreur", "--author", "a").out == "withdrawn\n"
    assert operator("regulateur", "rouvrir", address).code == 1
    assert operator(*clore, "b").out.startswith("proposed")
    assert operator("regulateur", "journal", "--json").json[1]["action"] == "regulateur.withdrawn"
    assert operator("regulateur", "rouvrir", address, "--author", "b").code == 0
    assert operator(*clore, "a").out.startswith("proposed")
    assert operator(*clore, "a").code == 1
    assert operator(*clore, "b").out.startswith("closed")


def test_a_whole_store(operator: Operator, store: Store) -> None:
    operator.bal()
    assert operator("audit", "verify").code == 0
    assert operator("audit", "verify", "--json").json == {"whole": True, "fault": None}
    assert operator("verify").code == 0
    assert operator("verify", "--json").json["whole"] is True


def test_a_journal_that_was_tampered_with(operator: Operator) -> None:
    import sqlite3

    address = operator.bal()
    with sqlite3.connect(operator.directory / "data" / "mssante.db") as database:
        database.execute("UPDATE journal SET object = 'somebody@cabinet.test' WHERE object = ?", (address,))
    database.close()
    for command in (("audit", "verify"), ("verify",)):
        ended = operator(*command)
        assert ended.code == 1
        assert "row 1" in ended.err
    assert operator("audit", "verify", "--json").json["whole"] is False


# doctor


def findings(operator: Operator) -> dict[str, str]:
    return {f"{one['check']}: {one['finding']}": one["verdict"] for one in operator("doctor", "--json").json}


@pytest.fixture
def quiet(operator: Operator) -> Operator:
    """On ports that nothing takes."""
    file = operator.directory / "mssante.toml"
    text = file.read_text()
    base = free_ports(7)
    for place in range(7):
        text = text.replace(f" = {2500 + place}\n", f" = {base + place}\n")
    file.write_text(text)
    return operator


def test_all_is_well(quiet: Operator) -> None:
    ended = quiet("doctor")
    assert (ended.code, ended.err) == (0, "")
    # The keys of an example are in nobody's DNS: test_doctor_dkim.
    assert {verdict for what, verdict in findings(quiet).items() if not what.startswith("dkim")} == {"ok"}


def test_faults_are_all_shown(quiet: Operator) -> None:
    for name in ("pki/operator.pem", "pki/dkim.key", "pki/crl.pem", "espace/listeblanche.xml", "pki/master.key"):
        (quiet.directory / name).write_text("nonsense")
    ended = quiet("doctor")
    assert (ended.code, ended.err) == (1, "")
    faulty = {what.partition(":")[0] for what, verdict in findings(quiet).items() if verdict == "fault"}
    assert faulty == {"certificate", "revocation", "white list", "dkim", "store"}


def test_a_port_that_is_taken(quiet: Operator) -> None:
    port = quiet.settings.listen.imap
    with socket.create_server(("127.0.0.1", port)):
        assert quiet("doctor").code == 1
        assert [what for what, verdict in findings(quiet).items() if verdict == "fault"] == [
            f"port: imap 127.0.0.1:{port} is taken by another program, or not permitted: "
            "stop that one, or change [listen]"
        ]


# pki


def certificate(file: Path) -> str:
    return subprocess.run(
        ["openssl", "x509", "-in", file, "-noout", "-subject", "-ext", "extendedKeyUsage"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


SUBJECT = ("--cn", "mx.autre.test", "--ou", "1750000002", "--o", "Autre")


def test_certificates_for_tests(operator: Operator, tmp_path: Path) -> None:
    for kind, client_only in (("serv", False), ("org", True)):
        out = tmp_path / kind
        ended = operator("pki", "issue", *SUBJECT, "--kind", kind, "--out", str(out))
        assert (ended.code, ended.out.split()) == (0, [str(out / "cert.pem"), str(out / "cert.key")])
        text = certificate(out / "cert.pem")
        assert "CN = mx.autre.test" in text
        assert ("TLS Web Server Authentication" not in text) is client_only
        assert (out / "cert.key").stat().st_mode & 0o777 == 0o600


def test_expired_and_revoked(operator: Operator, tmp_path: Path) -> None:
    roots, crl = operator.directory / "pki" / "ca.pem", operator.directory / "pki" / "crl.pem"
    for option, says in (("--expired", "has expired"), ("--revoked", "revoked")):
        out = tmp_path / option.strip("-")
        assert operator("pki", "issue", *SUBJECT, option, "--out", str(out)).code == 0
        checked = subprocess.run(
            ["openssl", "verify", "-crl_check", "-CAfile", roots, "-CRLfile", crl, out / "cert.pem"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert checked.returncode != 0
        assert says in checked.stdout + checked.stderr


def test_certificates_refused(operator: Operator, run: Run, tmp_path: Path) -> None:
    assert operator("pki", "issue", *SUBJECT, "--expired", "--revoked", "--out", str(tmp_path / "a")).code == 2
    assert operator("pki", "issue", *SUBJECT, "--kind", "ps", "--out", str(tmp_path / "a")).code == 2
    assert operator("pki", "issue", *SUBJECT, "--out", str(tmp_path / "a")).code == 0
    again = operator("pki", "issue", *SUBJECT, "--out", str(tmp_path / "a"))
    assert (again.code, len(again.lines)) == (1, 1)
    (tmp_path / "file").write_text("")
    assert operator("pki", "issue", *SUBJECT, "--out", str(tmp_path / "file" / "x")).code == 2
