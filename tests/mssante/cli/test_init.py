"""`mssante init`: a ready operator, or nothing."""

import stat
import tomllib
from pathlib import Path

import pytest

from mssante.config import load
from tests.mssante.cli.conftest import Operator, Run


def test_what_others_use_is_there(pattern: Path) -> None:
    for name in ("mssante.toml", "pki/ca.pem", "pki/operator.pem", "pki/crl.pem", "espace/listeblanche.xml"):
        assert (pattern / name).is_file(), name
    for secret in ("pki/operator.key", "pki/master.key", "pki/dkim.key"):
        assert stat.S_IMODE((pattern / secret).stat().st_mode) == 0o600, secret
    assert stat.S_IMODE((pattern / "data").stat().st_mode) == 0o700


def test_the_configuration_says_what_was_asked(run: Run, tmp_path: Path) -> None:
    ended = run(
        *(
            "init",
            str(tmp_path / "op"),
            "--operator",
            'Clinique "des Dunes"',
            "--domain",
            "A.test",
            "--domain",
            "b.test",
        ),
        *("--patients", "--patient-domain", "citoyens.test", "--hostname", "smtp.a.test", "--host", "127.0.0.2"),
        *("--port-base", "4000", "--dns", "127.0.0.1:5353"),
    )
    assert ended.code == 0
    settings = load(tmp_path / "op" / "mssante.toml", environment={})
    assert settings.operator.name == 'Clinique "des Dunes"'
    assert settings.operator.domains == ("a.test", "b.test")
    assert (settings.operator.patient_domain, settings.operator.patient_domains) == (
        "citoyens.test",
        ("citoyens.test",),
    )
    assert settings.operator.hostname == "smtp.a.test"
    listen = settings.listen
    assert (listen.host, listen.mx, listen.submission, listen.submissions) == ("127.0.0.2", 4000, 4001, 4002)
    assert (listen.imap, listen.imaps, listen.portal, listen.health) == (4003, 4004, 4005, 4006)
    assert settings.dns.server == "127.0.0.1:5353"
    assert settings.espace_confiance.routes is not None
    routes = tomllib.loads(settings.espace_confiance.routes.read_text())
    assert routes["routes"]["citoyens.test"] == "127.0.0.2:4000"


def test_the_first_domain_names_the_machine(operator: Operator) -> None:
    assert operator.settings.operator.hostname == "mx.cabinet.test"


def test_joining_shares_the_trust_space(run: Run, operator: Operator, tmp_path: Path) -> None:
    other = tmp_path / "clinique"
    joining = ("--operator", "Clinique", "--domain", "clinique.test", "--port-base", "2600")
    assert run("init", str(other), *joining, "--join", str(operator.directory)).code == 0
    for config in (operator.directory / "mssante.toml", other / "mssante.toml"):
        for domain in ("cabinet.test", "clinique.test", "patient.mssante.fr"):
            (entry,) = run("-c", str(config), "liste-blanche", "show", domain, "--json").json
            assert entry["domain"] == domain
    assert (other / "pki" / "ca.pem").read_bytes() == (operator.directory / "pki" / "ca.pem").read_bytes()


def test_joining_takes_over_the_citizens_domain(run: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    assert run("init", str(first), "--operator", "A", "--patients", "--patient-domain", "usagers.test").code == 0
    joining = ("--operator", "B", "--domain", "b.test", "--port-base", "2600")
    assert run("init", str(second), *joining, "--join", str(first)).code == 0
    assert load(second / "mssante.toml", environment={}).operator.patient_domains == ("usagers.test",)
    assert load(first / "mssante.toml", environment={}).operator.hostname == "mx.usagers.test"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--operator", "X"), 2, "--domain D, or --patients"),
        (("--operator", "X", "--domain", "not a domain"), 2, "is not a domain"),
        (("--operator", "X", "--domain", "local"), 2, "is not a domain"),
        (("--operator", "", "--domain", "x.test"), 2, "printable"),
        (("--operator", "X", "--domain", "x.test", "--hostname", "a b"), 2, "not a host name"),
        (("--operator", "X", "--domain", "x.test", "--port-base", "65530"), 2, "between 1 and 65529"),
        (("--operator", "X", "--domain", "x.test", "--dns", "nowhere"), 2, "host:port"),
        (("--operator", "X", "--domain", "x.test", "--join", "none"), 2, "no such file"),
    ],
)
def test_faults_leave_nothing_behind(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = run("init", str(tmp_path / "op"), *arguments)
    assert (ended.code, ended.out) == (code, "")
    (line,) = ended.lines
    assert says in line
    assert not (tmp_path / "op").exists()


def test_a_domain_that_is_taken(run: Run, operator: Operator, tmp_path: Path) -> None:
    other = tmp_path / "other"
    ended = run("init", str(other), "--operator", "X", "--domain", "cabinet.test", "--join", str(operator.directory))
    assert (ended.code, len(ended.lines)) == (1, 1)
    assert "cabinet.test" in ended.err
    assert not other.exists()


def test_a_port_shared_with_another_operator_is_told(run: Run, operator: Operator, tmp_path: Path) -> None:
    """Two operators on one route: once both serve, mail for either would reach whichever has the port."""
    joined = ("--operator", "X", "--domain", "x.test", "--join", str(operator.directory))
    ended = run("init", str(tmp_path / "other"), *joined)
    assert (ended.code, len(ended.lines)) == (0, 1)
    assert "127.0.0.1:2500 is also the MX of cabinet.test" in ended.err
    assert operator("liste-blanche", "show", "x.test").code == 0


def test_nothing_is_overwritten(run: Run, operator: Operator) -> None:
    before = {path: path.read_bytes() for path in operator.directory.rglob("*") if path.is_file()}
    ended = run("init", str(operator.directory), "--operator", "X", "--domain", "x.test")
    assert (ended.code, len(ended.lines)) == (1, 1)
    assert before == {path: path.read_bytes() for path in operator.directory.rglob("*") if path.is_file()}


def test_a_file_in_the_way(run: Run, tmp_path: Path) -> None:
    (tmp_path / "op").write_text("")
    ended = run("init", str(tmp_path / "op" / "sub"), "--operator", "X", "--domain", "x.test")
    assert (ended.code, len(ended.lines)) == (2, 1)
