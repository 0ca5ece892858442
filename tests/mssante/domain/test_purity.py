"""The domain imports the standard library and itself; only clock.py reads the time."""

import ast
import sys
from pathlib import Path

import mssante.domain

FILES = sorted(Path(mssante.domain.__path__[0]).glob("*.py"))
IMPURE = {"asyncio", "logging", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "ssl", "threading"}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_there_are_files_to_look_at() -> None:
    assert {"rules.py", "address.py", "clock.py"} <= {file.name for file in FILES}


def test_only_the_standard_library_and_the_domain() -> None:
    strangers = {
        (file.name, name)
        for file in FILES
        for name in imported(file)
        if not name.startswith("mssante.domain") and name.partition(".")[0] not in sys.stdlib_module_names - IMPURE
    }
    assert strangers == set()


def test_only_the_clock_reads_the_time() -> None:
    assert {file.name for file in FILES if imported(file) & {"time", "datetime"}} == {"clock.py"}
