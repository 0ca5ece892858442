"""A command, a setting or a page that is not documented fails here."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from mssante.config import sections, settings_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    """The generator of the pages."""
    return runpy.run_path(str(DOCS / "generate.py"))


@pytest.mark.parametrize("page", ["configuration.md", "commands.md", "conformity.md"])
def test_generated_pages_are_up_to_date(generate: dict[str, Any], page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == generate["PAGES"][page](), "run make docs"


def test_every_setting_is_explained() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for section in sections():
        assert f"\n## [{section}]\n" in text
        for setting in settings_of(section):
            assert f"| `{setting.key}` |" in text
            assert len(setting.doc) > 20, setting.key


def test_every_setting_is_obeyed_by_somebody() -> None:
    roof = [
        ROOT / "mssante" / "app.py",
        ROOT / "mssante" / "trust.py",
        ROOT / "mssante" / "rooms.py",
        ROOT / "mssante" / "directory.py",
        ROOT / "mssante" / "housekeeping.py",
        *(ROOT / "mssante" / "cli").glob("*.py"),
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in roof)
    unused = {
        f"{section}.{setting.key}"
        for section in sections()
        for setting in settings_of(section)
        if not re.search(rf"\.{setting.key}\b", text)
    }
    assert not unused


def test_every_setting_of_time_or_size_knows_its_unit() -> None:
    units = ("_s", "_hours", "_days", "_minutes", "_months", "_kib", "_per_second", "_percent")
    said = (
        "bytes",
        "port",
        "at once",
        "recipients",
        "folders",
        "attempts",
        "commands",
        "characters",
        "passes",
        "(25 in",
        "(587 in",
        "(465 in",
        "(143 in",
        "(993 in",
        "http",
    )
    for section in sections():
        for setting in settings_of(section):
            if isinstance(setting.default, int) and not isinstance(setting.default, bool):
                assert setting.key.endswith(units) or any(word in setting.doc.lower() for word in said), setting.key


def test_every_command_and_option_is_explained(generate: dict[str, Any]) -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    commands = dict(generate["every_command"]())
    assert len(commands) > 30
    for path, command in commands.items():
        assert f"\n## {path}\n" in text
        assert command.help, path
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.name == "help", f"{path} {parameter.name}"


def test_the_commands_of_the_readme_exist(generate: dict[str, Any]) -> None:
    commands = dict(generate["every_command"]())
    pages = [ROOT / "README.md", DOCS / "operations.md"]
    for page in pages:
        for line in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?mssante (.+)$", page.read_text(encoding="utf-8"), re.M):
            words = re.sub(r"^-c \S+ ", "", line).split()
            found = [size for size in (2, 1) if " ".join(["mssante", *words[:size]]) in commands]
            assert found, f"{page.name}: mssante {line}"
            command = commands[" ".join(["mssante", *words[: found[0]]])]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, f"{page.name}: mssante {line}"


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name
