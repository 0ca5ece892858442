"""Writes the pages that the program itself knows best: docs/configuration.md, commands.md and conformity.md.

`make docs` runs it; tests/test_docs.py fails when a page differs from what it would write.
"""

import runpy
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer.main

from mssante.cli import app
from mssante.config import sections, settings_of, toml_value
from mssante.settings import PASSWORD_VARIABLE

DOCS = Path(__file__).parent
WIDTH = 100


def configuration() -> str:
    """The page of every setting."""
    lines = [
        "# Configuration",
        "",
        "Generated from the settings themselves by `make docs`.",
        "",
        *_prose(
            "`mssante init` writes a commented `mssante.toml`. A wrong type, an unknown key and two settings that "
            "contradict each other are all reported at once, each with its line, and nothing starts. Relative paths "
            "start from the directory of the file. No secret stands in it: keys are named by their file, and the "
            f"password of the database comes from the environment variable `{PASSWORD_VARIABLE}`."
        ),
    ]
    for name, struct in sections().items():
        lines += [
            "",
            f"## [{name}]",
            "",
            (struct.__doc__ or "").strip(),
            "",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for setting in settings_of(name):
            default = "required" if setting.default is msgspec.NODEFAULT else f"`{toml_value(setting.default)}`"
            lines.append(f"| `{setting.key}` | {default} | {setting.doc.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """The page of every command: what `--help` says."""
    lines = [
        "# Commands",
        "",
        "Generated from the program itself by `make docs`; `mssante COMMAND --help` says the same.",
        "",
        *_prose(
            "Exit codes: 0 done; 1 refused by a rule or not found; 2 wrong usage or configuration; 3 a needed service "
            "is out of reach. An error is one line on stderr: what, and what to do about it. With `--json` a listing "
            "is one JSON array or object on stdout, its times ISO 8601 UTC. Passwords come by `--password-stdin`, "
            "never by argument. Commands work while `serve` runs, on the same store."
        ),
    ]
    for path, command in every_command():
        with typer.Context(command, info_name=path, terminal_width=WIDTH) as context:
            lines += ["", f"## {path}", "", "```", command.get_help(context).rstrip(), "```"]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def _prose(text: str) -> list[str]:
    return textwrap.wrap(text, 118)


def every_command() -> Iterator[tuple[str, Any]]:
    """(name with its groups, command) of each command that does something, in the order of the help."""
    yield from _commands("mssante", typer.main.get_command(app))


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(f"{path} {name}", child)


def conformity() -> str:
    """The page of every clause that the code cites."""
    return str(runpy.run_path(str(DOCS / "clauses.py"))["conformity"]())


PAGES = {"configuration.md": configuration, "commands.md": commands, "conformity.md": conformity}

if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text(), encoding="utf-8")
        sys.stdout.write(f"docs/{page}\n")
