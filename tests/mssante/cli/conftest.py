"""An operator made by `mssante init` once, copied for each test; commands run in this process."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mssante.cli import main
from mssante.cli.frame import open_store
from mssante.config import Settings, load
from mssante.domain.identifiers import luhn_holds
from mssante.domain.ins import ins_key
from mssante.store import Store

RPPS = "8000000001" + next(key for key in "0123456789" if luhn_holds("8000000001" + key))
INS = f"2990175990001{ins_key('2990175990001'):02d}"
TRAITS = ("--nom", "DURAND", "--prenoms", "Jeanne Marie", "--naissance", "1999-01-15", "--sexe", "F", "--lieu", "75115")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """What was said on stderr."""
        return self.err.splitlines()


Run = Callable[..., Ended]


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command line; `given` is its stdin."""
    monkeypatch.delenv("MSSANTE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, given: str = "") -> Ended:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An operator as `init` makes it; not to be changed."""
    directory = tmp_path_factory.mktemp("pattern") / "op"
    assert main(["init", str(directory), "--operator", "Cabinet", "--domain", "cabinet.test", "--patients"]) == 0
    return directory


@dataclass(frozen=True)
class Operator:
    """One operator of its own for a test."""

    directory: Path
    _run: Run

    def __call__(self, *arguments: str, given: str = "") -> Ended:
        return self._run("-c", str(self.directory / "mssante.toml"), *arguments, given=given)

    @property
    def settings(self) -> Settings:
        return load(self.directory / "mssante.toml", environment={})

    def bal(self, local: str = "claire.martin", *more: str, given: str = "") -> str:
        """A new professional's mailbox."""
        ended = self("bal", "create", f"{local}@cabinet.test", "--type", "PER", "--rpps", RPPS, *more, given=given)
        assert (ended.code, ended.err) == (0, "")
        return f"{local}@cabinet.test"


@pytest.fixture
def operator(pattern: Path, tmp_path: Path, run: Run) -> Operator:
    directory = tmp_path / "op"
    shutil.copytree(pattern, directory)
    return Operator(directory, run)


@pytest.fixture
def store(operator: Operator) -> Iterator[Store]:
    """The operator's store, opened beside the commands."""
    with open_store(operator.settings) as opened:
        yield opened
