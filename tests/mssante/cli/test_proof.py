"""`audit export` as an auditor checks it, `indicateurs`, and the settings of a mailbox's life."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tests.mssante.cli.conftest import Operator
from tests.mssante.cli.test_load import open_bal


def _checked(operator: Operator, out: Path) -> subprocess.CompletedProcess[str]:
    roots, manifest = operator.directory / "pki" / "ca.pem", out / "manifest.json"
    told = f"cms -verify -binary -inform DER -in {manifest}.p7s -content {manifest} -CAfile {roots} -purpose any"
    return subprocess.run(
        ["openssl", *told.split(), "-out", "/dev/null"], capture_output=True, text=True, timeout=30, check=False
    )


def test_an_auditor_checks_the_export_with_ordinary_tools(operator: Operator, tmp_path: Path) -> None:
    open_bal(operator)
    assert operator("bal", "suspend", "claire@cabinet.test", "--motif", "congé").code == 0
    out = tmp_path / "out"
    ended = operator("audit", "export", "--out", str(out), "--json")
    assert ended.code == 0, ended.err
    manifest = json.loads((out / "manifest.json").read_text())
    assert ended.json == {"folder": str(out), **manifest}
    checked = _checked(operator, out)
    assert checked.returncode == 0, checked.stderr
    lines = (out / "journal.jsonl").read_bytes()
    assert hashlib.sha256(lines).hexdigest() == manifest["sha256"]
    entries = [json.loads(line) for line in lines.splitlines()]
    assert [entry["action"] for entry in entries] == ["bal.opened", "bal.suspended"]
    digest = bytes.fromhex(manifest["previous"])
    for entry in entries:
        row = [entry[name] for name in ("seq", "at_us", "action", "actor", "object", "detail")]
        digest = hashlib.sha256(digest + msgspec.json.encode(row)).digest()
        assert digest.hex() == entry["hash"]


def test_a_changed_manifest_is_found(operator: Operator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert operator("audit", "export", "--out", str(out)).code == 0
    (out / "manifest.json").write_text((out / "manifest.json").read_text().replace('"entries": 0', '"entries": 1'))
    checked = _checked(operator, out)
    assert checked.returncode != 0


def test_days_choose_entries_and_folders_are_never_overwritten(operator: Operator, tmp_path: Path) -> None:
    open_bal(operator)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    one = operator("audit", "export", "--out", str(tmp_path / "a"), "--since", today, "--until", today, "--json")
    assert one.json["entries"] == 1
    none = operator("audit", "export", "--out", str(tmp_path / "b"), "--until", "2001-01-01", "--json")
    assert (none.json["entries"], none.json["previous"]) == (0, None)
    assert operator("audit", "export", "--out", str(tmp_path / "a")).code == 2
    assert operator("audit", "export", "--out", str(tmp_path / "c"), "--since", "hier").code == 2
    assert not (tmp_path / "c").exists()


def test_the_figures_of_a_month(operator: Operator) -> None:
    open_bal(operator)
    month = datetime.now(UTC).strftime("%Y-%m")
    ended = operator("indicateurs", "--mois", month)
    lines = dict(line.split(";") for line in ended.out.splitlines())
    assert (ended.code, lines["mois"], lines["operateur"], lines["bal_org"], lines["bal_per"]) == (
        0,
        month,
        "Cabinet",
        "1",
        "0",
    )
    assert operator("indicateurs", "--mois", month, "--json").json["messages_recus"] == 0
    assert operator("indicateurs", "--mois", "2001-01", "--json").json["bal_org"] == 0
    assert operator("indicateurs", "--mois", "novembre").code == 2
    assert operator("indicateurs", "--mois", "9999-01").code == 2


def test_a_layout_of_one_s_own(operator: Operator, tmp_path: Path) -> None:
    layout = tmp_path / "layout.csv"
    config = operator.directory / "mssante.toml"
    config.write_text(config.read_text().replace("[life_cycle]", f'[life_cycle]\nindicateurs_layout = "{layout}"', 1))
    layout.write_text("Mois,BAL\n{mois},{bal_per}\n")
    assert operator("indicateurs", "--mois", "2026-01").out == "Mois,BAL\n2026-01,0\n"
    layout.write_text("{mois},{bal_dentistes}")
    ended = operator("indicateurs", "--mois", "2026-01")
    assert (ended.code, "bal_dentistes: not counted; there are actives_" in ended.err) == (2, True)
    layout.unlink()
    assert operator("indicateurs", "--mois", "2026-01").code == 2


@pytest.mark.parametrize("months", ["[11, 10]", "[10, 12]", "[0, 11]", "[10, 10]"])
def test_warnings_that_cannot_be_meant(operator: Operator, months: str) -> None:
    config = operator.directory / "mssante.toml"
    config.write_text(config.read_text().replace("[life_cycle]", f"[life_cycle]\nwarning_months = {months}", 1))
    ended = operator("bal", "list")
    assert (ended.code, "warning_months" in ended.err) == (2, True)
