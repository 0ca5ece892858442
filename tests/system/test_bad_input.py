"""Bad input: a clear line that says what to do, the right exit code, and nothing lost.

What serves is started as the program itself, as its user would: a traceback would be seen.
"""

import re
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.operators import HOST, Done, Network, Operator, command, program
from tests.system.people import professional

REFUSED, USAGE, UNREACHABLE = 1, 2, 3


def told(done: Done, code: int, *words: str) -> list[str]:
    """The lines on stderr: each from us, printable, no traceback; stdout is empty."""
    lines = done.err.splitlines()
    assert (done.code, done.out) == (code, ""), done
    assert lines and all(line.startswith("mssante: ") and line.isprintable() for line in lines), done.err
    for word in words:
        assert word in done.err, done.err
    return lines


def one_line(done: Done, code: int, *words: str) -> None:
    """The same, in one line."""
    assert len(told(done, code, *words)) == 1, done.err


# --- the configuration


def test_every_fault_of_the_configuration_is_told_with_its_line(own_network: Network) -> None:
    here = own_network.cabinet
    text = here.config.read_text()
    for wrong, right in {
        "imapz = 25003": f"imap = {here.port_of('imap')}",
        "mx = 99999": f"mx = {here.port}",
        'hostname = "MX cabinet"': 'hostname = "mx.cabinet.mssante.example"',
        "max_recipient = 40": "#max_recipients = 40",
        "[stores]": "[store]",
    }.items():
        assert text.count(f"\n{right}\n") == 1, right
        text = text.replace(f"\n{right}\n", f"\n{wrong}\n")
    here.config.write_text(text)
    lines = told(here.process("serve"), USAGE)
    numbered = [re.fullmatch(rf"mssante: {re.escape(str(here.config))}:(\d+): (.*)", line) for line in lines]
    assert all(numbered), lines
    places = [text.splitlines()[int(found[1]) - 1] for found in numbered if found]
    wrong_lines = {"imapz = 25003", "mx = 99999", 'hostname = "MX cabinet"', "max_recipient = 40", "[stores]"}
    assert wrong_lines <= set(places), lines
    assert "did you mean imap?" in str(lines) and "did you mean store?" in str(lines)


def test_without_configuration_nothing_starts(tmp_path: Path) -> None:
    file = tmp_path / "mssante.toml"
    one_line(program("-c", str(file), "serve"), USAGE, str(file), "no such file")
    one_line(command("-c", str(tmp_path), "serve"), USAGE, str(tmp_path), "cannot be read")
    file.write_text('[operator]\nname = "Cabinet\n')
    one_line(command("-c", str(file), "serve"), USAGE, "mssante.toml:2: not TOML")


# --- what serve needs


def garbage_certificate(here: Operator) -> None:
    (here.directory / "pki" / "operator.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n")


def key_of_another(here: Operator) -> None:
    other = here.directory.parent / "clinique" / "pki" / "operator.key"
    (here.directory / "pki" / "operator.key").write_bytes(other.read_bytes())


def newer_store(here: Operator) -> None:
    with sqlite3.connect(here.directory / "data" / "mssante.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()


def key_of_another_store(here: Operator) -> None:
    other = here.directory.parent / "clinique" / "pki" / "master.key"
    (here.directory / "pki" / "master.key").write_bytes(other.read_bytes())


def cut_master_key(here: Operator) -> None:
    key = here.directory / "pki" / "master.key"
    key.write_bytes(key.read_bytes()[:20])


def no_master_key(here: Operator) -> None:
    (here.directory / "pki" / "master.key").unlink()


def not_a_database(here: Operator) -> None:
    (here.directory / "data" / "mssante.db").write_bytes(b"this is no database at all, whatever it is\n" * 200)


def no_signing_key(here: Operator) -> None:
    (here.directory / "pki" / "dkim.key").unlink()


Fault = Callable[[Operator], None]
FAULTS: dict[Fault, tuple[int, tuple[str, ...]]] = {
    garbage_certificate: (USAGE, ("operator.pem",)),
    key_of_another: (USAGE, ("operator.key", "not the key of the certificate")),
    no_signing_key: (USAGE, ("dkim.key", "No such file")),
    newer_store: (USAGE, ("newer version", "upgrade mssante")),
    key_of_another_store: (USAGE, ("master key does not open this store",)),
}
STORE_FAULTS: dict[Fault, tuple[int, tuple[str, ...]]] = {
    newer_store: FAULTS[newer_store],
    key_of_another_store: FAULTS[key_of_another_store],
    cut_master_key: (USAGE, ("master.key",)),
    no_master_key: (USAGE, ("master.key", "No such file")),
    not_a_database: (UNREACHABLE, ("store: ", "not a database")),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_serve_cannot_use_is_told_and_left_as_it_is(own_network: Network, fault: Fault) -> None:
    here = own_network.cabinet
    fault(here)
    before = files(here)
    code, words = FAULTS[fault]
    one_line(here.process("serve"), code, *words)
    assert files(here) == before


@pytest.mark.parametrize("fault", STORE_FAULTS, ids=lambda fault: fault.__name__)
def test_commands_tell_the_same_of_the_store(own_network: Network, fault: Fault) -> None:
    here = own_network.cabinet
    professional(here)
    fault(here)
    before = files(here)
    code, words = STORE_FAULTS[fault]
    one_line(here.command("bal", "list"), code, *words)
    one_line(here.command("bal", "create", f"a@{here.domain}", "--type", "PER"), code, *words)
    assert files(here) == before


def files(operator: Operator) -> dict[str, bytes]:
    """Everything that lasts: what a start that failed must leave as it was."""
    folders = (operator.directory / "data", operator.directory / "pki", operator.directory / "espace")
    return {
        str(file): file.read_bytes()
        for folder in folders
        for file in sorted(folder.rglob("*"))
        # A log and a shared memory of SQLite that are empty say nothing.
        if file.is_file() and not file.name.endswith(("-shm", "-wal"))
    }


def test_a_port_in_use_is_named(own_network: Network) -> None:
    here = own_network.cabinet
    port = here.port_of("imaps")  # the others are opened before it
    with socket.create_server((HOST, port)):
        one_line(here.process("serve"), USAGE, "listen", str(port), "in use")
    assert here.command("verify").code == 0


# --- commands


def test_commands_used_wrongly_say_how(own_network: Network) -> None:
    here = own_network.cabinet
    one_line(here.process("bal", "create", "--rpsp", "1"), USAGE, "--rpsp", "mssante bal create --help")
    for arguments in (
        ("nope",),
        ("bal", "nope"),
        ("bal", "create"),
        ("bal", "create", f"a@{here.domain}", "--type", "XYZ"),
        ("bal", "create", "a@elsewhere.example", "--type", "PER"),
        ("bal", "suspend", f"a@{here.domain}"),
        ("queue", "show", "first"),
        ("queue", "retry"),
        ("patient", "show", "299017599000135"),
        ("bal", "password", f"a@{here.domain}"),
        ("bal", "import", "nowhere.csv"),
        ("liste-blanche", "import", "nowhere.xml"),
        ("pki", "issue", "--cn", "a", "--ou", "b", "--o", "c", "--kind", "x", "--out", "d"),
    ):
        one_line(here.command(*arguments), USAGE)
    for refused in (
        ("bal", "show", f"nobody@{here.domain}"),
        ("bal", "suspend", f"nobody@{here.domain}", "--motif", "absence"),
        ("regulateur", "clore", f"nobody@{here.domain}", "--motif", "absence"),
        ("queue", "show", "1"),
        ("liste-blanche", "show", "nowhere.example"),
        ("liste-blanche", "import", str(here.config)),
    ):
        one_line(here.command(*refused), REFUSED)
    assert here.json("bal", "list") == []


@pytest.mark.parametrize("text", ["a\x01b", "a\nb", "a\rb", "a\x7fb", "a\x1b[31mb", "a b", "a\x00b"])
def test_an_address_with_control_characters_is_refused_and_not_repeated_raw(own_network: Network, text: str) -> None:
    here = own_network.cabinet
    wanted = ("bal", "create", f"{text}@{here.domain}", "--type", "PER")
    one_line(here.command(*wanted), USAGE, "address")
    assert here.json("bal", "list") == []


def test_an_import_with_faults_imports_nothing_and_names_each_line(own_network: Network, tmp_path: Path) -> None:
    here = own_network.cabinet
    taken = professional(here)
    file = tmp_path / "bal.csv"
    file.write_text(
        "address,type,rpps,nom,password\n"
        f"bon@{here.domain},PER,,Bon,secret\n"
        f"rpps@{here.domain},PER,81000000001,Faux,secret\n"
        "ailleurs@autre.example,PER,,Ailleurs,secret\n"
        f'"deux\nlignes@{here.domain}",PER,,Deux,secret\n'
        f"type@{here.domain},MED,,Type,secret\n"
        f"bon@{here.domain},PER,,Encore,secret\n"
        f"court@{here.domain},PER\n"
    )
    before = here.json("bal", "list")
    lines = told(here.command("bal", "import", str(file)), REFUSED)
    assert [re.sub(rf"^mssante: {re.escape(str(file))}:(\d+): .*", r"\1", line) for line in lines[:-1]] == [
        *("3", "4", "5", "7", "8", "9")
    ]
    assert "nothing was imported" in lines[-1]
    file.write_text(f"address,type\nbon@{here.domain},PER\n{taken.address},PER\n")
    lines = told(here.command("bal", "import", str(file)), REFUSED)
    assert f"{file}:3: " in lines[0] and taken.address in lines[0]
    assert here.json("bal", "list") == before


def test_init_overwrites_nothing(own_network: Network) -> None:
    here = own_network.cabinet
    before = files(here), here.config.read_bytes()
    one_line(command("init", str(here.directory), "--operator", "X", "--domain", "x.example"), REFUSED, "not empty")
    assert (files(here), here.config.read_bytes()) == before
    new = here.directory.parent / "new"
    one_line(command("init", str(new), "--operator", "X"), USAGE, "--domain")
    taken = ("--operator", "X", "--domain", here.domain, "--join", str(here.directory))
    one_line(command("init", str(new), *taken), REFUSED, here.domain)
    assert not new.exists()
