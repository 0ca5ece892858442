"""`mssante.toml`: what is written can be read back; every fault is told at once, with its line and what to do."""

from pathlib import Path

import msgspec
import pytest

from mssante.config import ConfigError, Settings, load, sample, sections, settings_of
from mssante.settings import Dkim, EspaceConfiance, Listen, Operator, Store

CABINET = Operator(name='Cabinet "du Port" \\ n°1', hostname="mx.cabinet.test", domains=("cabinet.test",))
MINIMAL = '[operator]\nname = "Cabinet"\nhostname = "mx.cabinet.test"\ndomains = ["cabinet.test"]\n'


def faults(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "mssante.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load(file, environment={})
    return [line.removeprefix(f"{file}") for line in error.value.lines()]


def test_sample_is_read_back_as_it_was(tmp_path: Path) -> None:
    written = Settings(
        operator=CABINET,
        listen=Listen(mx=25, health=0),
        espace_confiance=EspaceConfiance(routes=Path("espace/routes.toml")),
        dkim=Dkim(sign=False),
    )
    file = tmp_path / "mssante.toml"
    file.write_text(sample(written), encoding="utf-8")
    read = load(file, environment={})
    assert read.operator == CABINET
    assert (read.listen.mx, read.listen.health, read.dkim.sign) == (25, 0, False)
    assert read.espace_confiance.routes == tmp_path / "espace/routes.toml"
    assert read.store.master_key == tmp_path / "pki/master.key"
    assert read.directory == tmp_path


def test_sample_names_and_explains_every_setting() -> None:
    text = sample(Settings(operator=CABINET))
    for section in sections():
        assert f"\n[{section}]\n" in text
        for setting in settings_of(section):
            assert f"{setting.key} = " in text
            assert setting.doc.split()[0] in text


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    told = faults(
        tmp_path,
        '[operator]\nnom = "x"\nhostname = "mx.cabinet.test"\ndomains = [\n  "cabinet.test",\n  "Not A Domain",\n]\n'
        '[listen]\nmx = "2500"\nimap = 2600\nimaps = 2600\n[rule]\nmax_recipients = 3\n'
        "[smtp]\nmax_size_patient = 99000000\n",
    )
    assert [line.split(": ")[0:2] for line in told] == [
        [":1", "[operator] name"],
        [":2", "[operator] nom"],
        [":4", "[operator] domains"],
        [":9", "[listen] mx"],
        [":11", "[listen] imaps"],
        [":12", "[rule]"],
        [":15", "[smtp] max_size_patient"],
    ]
    assert told[1].endswith("did you mean name?")
    assert told[5].endswith("did you mean rules?")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 0, "[operator] name: is missing"),
        (MINIMAL + "[rules]\nmax_recipients = 41\n", 6, "40"),  # the charter's limit
        ("operator = 3\n", 1, "operator: is a section"),
        (MINIMAL + "[operator]\n", 5, "not TOML"),
        (MINIMAL + "[listen\n", 5, "not TOML"),
        (MINIMAL + "[listen]\nmx = 70000\n", 6, "<= 65535"),
        (MINIMAL + "listen.mx = 0\n", 5, "[operator] listen: unknown key"),
        (MINIMAL + '[tls]\nkey = ""\n', 6, "expected the path of a file"),
        (MINIMAL + "[tls]\nkey = 3\n", 6, "expected the path of a file"),
        (MINIMAL + '[store]\ndatabase = "mysql://h/d"\n', 6, "sqlite:///path or postgresql+psycopg"),
        (MINIMAL + '[store]\ncontents = "/data"\n', 6, "file:folder"),
        (MINIMAL + "[queue]\nschedule_s = []\n", 6, "at least one"),
        (MINIMAL + "[queue]\nschedule_s = [60, 0]\n", 6, ">= 1"),
        (MINIMAL + '[dns]\nserver = "dns.test"\n', 6, "host:port"),
        (MINIMAL + 'patient_domain = "patient.test"\n', 5, "not among patient_domains"),
        (MINIMAL.replace('cabinet.test"]', 'patient.mssante.fr"]'), 4, "one place only"),
        (MINIMAL.replace('"mx.cabinet.test"', '"mx cabinet"'), 3, "not a host name"),
        (MINIMAL.replace('["cabinet.test"]', "[]"), 4, "no domain is hosted"),
        (
            MINIMAL + "[listen]\n" + "".join(f"{s.key} = 0\n" for s in settings_of("listen") if s.key != "host"),
            5,
            "nothing would run",
        ),
    ],
)
def test_one_fault(tmp_path: Path, text: str, line: int, says: str) -> None:
    told = faults(tmp_path, text)
    assert any(says in fault and (not line or fault.startswith(f":{line}: ")) for fault in told), told


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mssante init"):
        load(tmp_path / "none.toml")


def test_not_text(tmp_path: Path) -> None:
    file = tmp_path / "mssante.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file)


def test_the_database_password_comes_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "mssante.toml"
    url = "postgresql+psycopg://mss@db.test:5432/mssante"
    file.write_text(MINIMAL + f'[store]\ndatabase = "{url}"\n', encoding="utf-8")
    read = load(file, environment={"MSSANTE_DATABASE_PASSWORD": "p@ss/word"})
    assert read.store.database == "postgresql+psycopg://mss:p%40ss%2Fword@db.test:5432/mssante"
    assert load(file, environment={}).store.database == url


def test_no_default_breaks_its_own_bounds() -> None:
    for section in sections():
        for setting in settings_of(section):
            if setting.default is not msgspec.NODEFAULT and not isinstance(setting.default, Path | type(None)):
                assert msgspec.convert(setting.default, setting.type, strict=False) == setting.default, setting.key
    assert Store().database.startswith("sqlite:")
