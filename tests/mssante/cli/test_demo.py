"""`make demo` plays to its end: every answer of the story is compared there."""

import subprocess
import sys
from pathlib import Path

import pytest

from mssante.demo.operators import DemoFailure, Operator, free_ports, mssante
from mssante.demo.ready import prepare
from tests.mssante.cli.conftest import Operator as Pattern


def test_the_story() -> None:
    ended = subprocess.run([sys.executable, "-P", "-m", "mssante.demo"], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    assert ended.stderr == ""
    for answer in ("550 5.7.1", "550 5.5.3", "554 5.5.3", "530 5.7.0", "421 4.7.0", "535 5.7.8", "* BYE", "dkim=pass"):
        assert f"        {answer}" in ended.stdout or f": {answer}" in ended.stdout, answer


def test_what_make_run_prepares_stays_as_it_is(tmp_path: Path) -> None:
    told = prepare(tmp_path / "run", "2700")
    assert "port 2702 (TLS) or 2701 (STARTTLS); IMAP: port 2704 (TLS) or 2703 (STARTTLS)" in told
    passwords = (tmp_path / "run" / "comptes.txt").read_text()
    assert passwords.count("\n") == 3
    assert prepare(tmp_path / "run") == prepare(tmp_path / "run", "2700") == told
    with pytest.raises(DemoFailure, match="has the ports from 2700 on: change"):
        prepare(tmp_path / "run", "2500")
    assert (tmp_path / "run" / "comptes.txt").read_text() == passwords
    (tmp_path / "run" / "comptes.txt").unlink()
    with pytest.raises(DemoFailure, match="half made: remove it"):
        prepare(tmp_path / "run")


def test_another_exit_code_is_told() -> None:
    with pytest.raises(DemoFailure, match="exit 2, not 0"):
        mssante("no-such-command")


def test_a_service_that_does_not_start_is_told(operator: Pattern) -> None:
    (operator.directory / "pki" / "operator.pem").write_text("nonsense")
    served = Operator(operator.directory, 2500)
    served.serve()
    with pytest.raises(DemoFailure, match=r"operator\.pem"):
        served.wait()
    assert served.stop() == 2


def test_ports_are_looked_for() -> None:
    first, second = free_ports(2)
    assert second >= first + 7
