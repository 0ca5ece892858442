"""What holds of every command: exit codes, one-line errors, which configuration is meant."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.mssante.cli.conftest import Operator, Run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nope",), "No such command 'nope': see mssante --help"),
        (("--nope",), "No such option: --nope: see mssante --help"),
        (("bal", "show"), "Missing argument 'ADDRESS': see mssante bal show --help"),
        (("bal", "list", "extra"), "see mssante bal list --help"),
        (("queue", "hold", "many"), "see mssante queue hold --help"),
        (("init", "x"), "Missing option '--operator'"),
    ],
)
def test_wrong_words(run: Run, arguments: tuple[str, ...], says: str) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.lines
    assert line.startswith("mssante: ")
    assert says in line


def test_the_version(run: Run) -> None:
    ended = run("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"mssante {version('mssante')}\n", "")


def test_help_shows_every_command(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    for command in ("init", "serve", "bal", "patient", "queue", "liste-blanche", "regulateur", "doctor", "verify"):
        assert f"  {command} " in ended.out


def test_a_group_alone_shows_its_commands(run: Run) -> None:
    ended = run("queue")
    assert ended.code == 2
    assert "retry" in ended.out + ended.err


def test_which_configuration(run: Run, operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run("bal", "list").code == 2
    assert "mssante.toml: no such file; make one with `mssante init`" in run("bal", "list").err
    monkeypatch.setenv("MSSANTE_CONFIG", str(operator.directory / "mssante.toml"))
    assert run("bal", "list").code == 0
    assert run("-c", str(tmp_path / "other.toml"), "bal", "list").code == 2
    monkeypatch.delenv("MSSANTE_CONFIG")
    monkeypatch.chdir(operator.directory)
    assert run("bal", "list").code == 0


def test_every_fault_of_the_configuration_is_a_line(operator: Operator) -> None:
    file = operator.directory / "mssante.toml"
    file.write_text(file.read_text().replace("mx = 2500", "mx = 2501\nmix = 1") + "\n[foo]\n")
    ended = operator("bal", "list")
    assert ended.code == 2
    assert len(ended.lines) == 3
    assert all(line.startswith(f"mssante: {file}:") for line in ended.lines)


def test_the_store_of_another_key(operator: Operator) -> None:
    key = operator.directory / "pki" / "master.key"
    key.chmod(0o600)
    key.write_text("00" * 32)
    ended = operator("bal", "list")
    assert (ended.code, len(ended.lines)) == (2, 1)


def test_no_master_key(operator: Operator) -> None:
    (operator.directory / "pki" / "master.key").unlink()
    ended = operator("bal", "list")
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert "master.key" in ended.err


def test_a_database_out_of_reach(operator: Operator) -> None:
    file = operator.directory / "mssante.toml"
    far = "postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2"
    file.write_text(file.read_text().replace("sqlite:///data/mssante.db", far))
    ended = operator("bal", "list")
    assert (ended.code, len(ended.lines)) == (3, 1)


def test_a_reader_that_goes_away_is_no_error(operator: Operator) -> None:
    for local in ("a", "b", "c"):
        operator.bal(local)
    command = [sys.executable, "-P", "-m", "mssante", "-c", str(operator.directory / "mssante.toml"), "bal", "list"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert b"Traceback" not in ended.stderr
    assert ended.returncode == 0
