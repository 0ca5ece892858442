"""Commands and the service stop where the store is lost, and make nothing in its place."""

import pytest

from tests.mssante.cli.conftest import Operator


@pytest.mark.parametrize(
    "command", ["serve", "bal list", "queue list", "audit verify", "verify", "bal create a@cabinet.test --type ORG"]
)
def test_a_lost_database_stops_every_command(operator: Operator, command: str) -> None:
    for file in (operator.directory / "data").glob("mssante.db*"):
        file.unlink()
    ended = operator(*command.split())
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.lines
    assert "data/mssante.db is missing: " in line
    assert "[store] database" in line
    assert not (operator.directory / "data" / "mssante.db").exists()


def test_doctor_tells_a_lost_database(operator: Operator) -> None:
    (operator.directory / "data" / "mssante.db").unlink()
    findings = operator("doctor").out.splitlines()
    assert any("store" in line and "mssante.db is missing: " in line for line in findings)
