"""Habits of the house: our names are ours alone, nothing of a machine or a registry is in it, files stay short."""

import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("mssante", "tls", "espace_confiance", "annuaire", "smtp_in", "smtp_out", "imap", "portail")


def tracked() -> list[Path]:
    """The files of the project: those that git knows, or all but what .gitignore names in an unpacked archive."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=False, capture_output=True, text=True)
    names = listed.stdout.split("\0") if listed.returncode == 0 else []
    if not names:
        names = [
            str(path.relative_to(ROOT)) for name in (*PACKAGES, "tests", "docs") for path in (ROOT / name).rglob("*")
        ]
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_our_packages_are_ours_alone() -> None:
    """A second distribution with a package `imap` would replace ours without a word."""
    owners = packages_distributions()
    # An editable install lists no packages of its own; another distribution's would be listed all the same.
    assert {name: owners[name] for name in PACKAGES if set(owners.get(name, ())) - {"mssante"}} == {}


def test_no_other_folder_takes_a_name_of_ours() -> None:
    for name in PACKAGES:
        assert not (ROOT / "tests" / name).is_dir() or (ROOT / "tests" / name / "__init__.py").is_file()
        assert (ROOT / name / "py.typed").is_file()
    assert (ROOT / "tests" / "__init__.py").is_file()


LEAKS = re.compile(
    r"/(?:work|farm|root|opt|home)/"
    # Split, so that this file does not name what it looks for.
    r"|py" + r"pi\.org|files\.python" + r"hosted|registry\.np" + r"mjs|deb\.deb" + r"ian\.org"
)


def test_nothing_of_a_machine_or_a_registry_is_in_it() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if LEAKS.search(line) and path != Path(__file__)
        ]
    assert found == []


def test_no_file_holds_two_rooms() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in tracked() if path.suffix == ".py"}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 600} == {}


def test_every_dependency_is_locked_with_its_hash() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
        assert len(entries) > 20
        for entry in entries:
            assert re.match(r"[a-z0-9._-]+==[^ ]+( ; [^\\]+)? \\\n +--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


@pytest.mark.parametrize("group", ["runtime", "development"])
def test_the_lock_has_what_the_project_asks_for(group: str) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = project["project"]["dependencies"] if group == "runtime" else project["dependency-groups"]["dev"]
    lock = (ROOT / ("requirements.txt" if group == "runtime" else "requirements-dev.txt")).read_text()
    locked = set(re.findall(r"^([a-z0-9._-]+)==", lock, re.M))
    wanted = {re.match(r"[A-Za-z0-9._-]+", one)[0].lower().replace("_", "-") for one in asked}  # type: ignore[index]
    assert wanted <= locked


def test_the_targets_of_make_are_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()) - {"help", "debian-packages"}  # type: ignore[index]
    explained = set(re.findall(r'@echo "make (\w+) ', makefile))
    assert targets == explained
