"""`mssante bal`: the life of a mailbox from the command line."""

import os
import subprocess
from pathlib import Path

import pytest

from mssante.store import Store
from mssante.store.accounts import find_bal, list_bals
from mssante.store.journal import entries
from tests.mssante.cli.conftest import INS, RPPS, TRAITS, Operator


def test_a_new_mailbox_is_listed(operator: Operator) -> None:
    ended = operator(
        *("bal", "create", "Claire.Martin@Cabinet.test", "--type", "per", "--rpps", f"8{RPPS}", "--nom", "Martin"),
        *("--prenom", "Claire", "--profession", "10", "--liste-rouge"),
    )
    assert (ended.code, ended.err) == (0, "")
    (row,) = operator("bal", "list", "--json").json
    created = row.pop("created")
    assert created.endswith("Z")
    assert row == {
        "address": "claire.martin@cabinet.test",
        "type": "PER",
        "state": "active",
        "rpps": RPPS,
        "adeli": None,
        "finess": None,
        "siret": None,
        "responsable": None,
        "nom": "Martin",
        "prenom": "Claire",
        "profession": "10",
        "liste_rouge": True,
        "used_bytes": 0,
        "quota_bytes": None,
        "purged": None,
    }
    assert "claire.martin@cabinet.test" in operator("bal", "list").out


def test_passwords_are_kept_as_argon2_hashes_only(operator: Operator, store: Store) -> None:
    address = operator.bal("a", "--password-stdin", given="Mot de passe é\nnot this line\n")
    first = store.read_now(find_bal, address)
    assert first is not None
    assert first.password_hash is not None
    assert first.password_hash.startswith("$argon2id$v=19$m=9216,t=4,p=1$")
    assert operator("bal", "password", address, "--password-stdin", given="un autre secret\n").code == 0
    second = store.read_now(find_bal, address)
    assert second is not None
    assert second.password_hash != first.password_hash
    assert not [entry for entry in store.read_now(entries) if "argon2" in str(entry.detail)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bal", "create", "no address", "--type", "PER"), "address: 'no address'"),
        (("bal", "create", "a@other.test", "--type", "PER"), "not hosted here (cabinet.test)"),
        (("bal", "create", "a\x07@cabinet.test", "--type", "PER"), "address:"),
        (("bal", "create", "a@cabinet.test", "--type", "PAT"), "type: PAT: one of PER, ORG, APP"),
        (("bal", "create", "a@cabinet.test", "--type", "PER", "--rpps", "80000000019"), "rpps: '80000000019'"),
        (("bal", "create", "a@cabinet.test", "--type", "ORG", "--finess", "12"), "finess: '12'"),
        (("bal", "create", "a@cabinet.test", "--type", "PER", "--nom", "a\nb"), "nom: must be printable"),
        (("bal", "create", "a@cabinet.test", "--type", "PER", "--password-stdin"), "one line of printable text"),
        (("bal", "create", "a@cabinet.test"), "Missing option '--type'"),
        (("bal", "password", "a@cabinet.test"), "--password-stdin"),
        (("bal", "delegate", "a@cabinet.test", "--to", "12", "--right", "read"), "an address or an RPPS"),
        (("bal", "delegate", "a@cabinet.test", "--to", "b@cabinet.test", "--right", "own"), "one of read, write, send"),
    ],
)
def test_wrong_usage(operator: Operator, arguments: tuple[str, ...], says: str) -> None:
    ended = operator(*arguments)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.lines
    assert line.startswith("mssante: ")
    assert says in line


def test_every_fault_of_one_mailbox_is_told(operator: Operator) -> None:
    ended = operator("bal", "create", "a@other.test", "--type", "X", "--finess", "1", "--rpps", "2")
    assert ended.code == 2
    assert len(ended.lines) == 4


@pytest.mark.parametrize("command", ["show", "suspend", "reopen", "close", "password", "delegate"])
def test_an_unknown_mailbox(operator: Operator, command: str) -> None:
    more = {
        "suspend": ("--motif", "x"),
        "close": ("--motif", "x"),
        "password": ("--password-stdin",),
        "delegate": ("--to", RPPS, "--right", "read"),
    }
    ended = operator("bal", command, "nobody@cabinet.test", *more.get(command, ()), given="un secret\n")
    assert (ended.code, ended.lines) == (1, ["mssante: no such mailbox: nobody@cabinet.test"])


def test_an_address_is_given_once_for_ever(operator: Operator) -> None:
    address = operator.bal()
    assert operator("bal", "create", address, "--type", "ORG").code == 1
    assert operator("bal", "close", address, "--motif", "départ").code == 0
    ended = operator("bal", "create", address, "--type", "ORG")
    assert (ended.code, ended.lines) == (1, [f"mssante: the address {address} is taken"])


def test_states(operator: Operator, store: Store) -> None:
    address = operator.bal()

    def state() -> str:
        shown = operator("bal", "show", address, "--json").json
        return f"{shown['state']}: {shown['motif']}"

    assert operator("bal", "suspend", address, "--motif", "congé").code == 0
    assert state() == "suspended: congé"
    assert operator("bal", "suspend", address, "--motif", "x").code == 1
    assert operator("bal", "reopen", address).code == 0
    assert state() == "active: "
    assert operator("bal", "close", address, "--motif", "retraite").code == 0
    assert state() == "closed: retraite"
    assert operator("bal", "reopen", address).code == 1
    assert operator("bal", "password", address, "--password-stdin", given="un secret").code == 1
    actions = [entry.action for entry in store.read_now(entries)]
    assert actions == ["bal.opened", "bal.suspended", "bal.reopened", "bal.closed"]


@pytest.mark.parametrize("command", [("bal", "suspend"), ("bal", "close"), ("regulateur", "clore")])
def test_why_must_be_said(operator: Operator, command: tuple[str, ...]) -> None:
    address = operator.bal()
    ended = operator(*command, address, "--motif", " ")
    assert (ended.code, len(ended.lines)) == (1, 1)
    assert "the motif is empty" in ended.err
    assert operator("bal", "show", address, "--json").json["state"] == "active"


def test_delegations_are_shown(operator: Operator) -> None:
    address = operator.bal()
    secretary = secretariat(operator)
    assert operator("bal", "delegate", secretary, "--to", RPPS, "--right", "send").code == 0
    assert operator("bal", "delegate", secretary, "--to", address.upper(), "--right", "read").code == 0
    rights = operator("bal", "show", secretary, "--json").json["delegations"]
    assert {(one["to"], one["right"]) for one in rights} == {(RPPS, "send"), (address, "read")}


def secretariat(operator: Operator) -> str:
    """The mailbox of a structure."""
    assert operator("bal", "create", "sec@cabinet.test", "--type", "ORG").code == 0
    return "sec@cabinet.test"


def test_a_right_is_taken_back(operator: Operator, store: Store) -> None:
    address, secretary = operator.bal(), secretariat(operator)
    right = ("bal", "delegate", secretary, "--to", address, "--right", "send")
    assert operator(*right).code == 0
    assert operator(*right, "--remove").out == f"{address} may no longer send on {secretary}\n"
    assert operator("bal", "show", secretary, "--json").json["delegations"] == []
    again = operator(*right, "--remove")
    assert (again.code, again.lines) == (1, [f"mssante: {address} has no right to send on {secretary}"])
    told = [(entry.action, entry.detail) for entry in store.read_now(entries)][-2:]
    detail = {"to": address, "right": "send"}
    assert told == [("bal.delegated", detail), ("bal.undelegated", detail)]


def test_who_cannot_act_for_others(operator: Operator) -> None:
    address, secretary, citizen = operator.bal(), secretariat(operator), f"{INS}@patient.mssante.fr"
    assert operator("patient", "create", INS, *TRAITS).code == 0
    closed = operator.bal("parti")
    assert operator("bal", "close", closed, "--motif", "départ").code == 0
    for owner, to, says in (
        (address, address.title(), f"{address} is the holder of {address}"),
        (address, RPPS, f"{RPPS} is the holder of {address}"),
        (secretary, "nobody@cabinet.test", "no such mailbox: nobody@cabinet.test"),
        (secretary, "dr@elsewhere.test", "no such mailbox: dr@elsewhere.test"),
        (secretary, citizen, "is a citizen's mailbox"),
        (secretary, closed, f"{closed} is closed"),
    ):
        ended = operator("bal", "delegate", owner, "--to", to, "--right", "send")
        assert (ended.code, len(ended.lines)) == (1, 1), to
        assert says in ended.err
        assert INS not in ended.err
        assert operator("bal", "show", owner, "--json").json["delegations"] == []


def test_citizens_are_not_among_the_professionals(operator: Operator) -> None:
    assert operator("patient", "create", INS, *TRAITS).code == 0
    assert operator("bal", "list", "--json").json == []


# bal import


def csv(directory: Path, text: str, encoding: str = "utf-8") -> str:
    file = directory / "bals.csv"
    file.write_text(text, encoding=encoding)
    return str(file)


def test_import(operator: Operator, store: Store, tmp_path: Path) -> None:
    file = csv(
        tmp_path,
        f"Address,type,rpps,nom,prenom,liste-rouge,password\na@cabinet.test,PER,{RPPS},Étienne,,oui,un secret\n"
        '\nb@cabinet.test,org,,"Durand, Fils\nsuite",,non,\n'.replace("\nsuite", ""),
    )
    ended = operator("bal", "import", file, "--json")
    assert (ended.code, ended.json) == (0, {"opened": 2})
    bals = {bal.address: bal for bal in store.read_now(list_bals)}
    assert (bals["a@cabinet.test"].nom, bals["a@cabinet.test"].liste_rouge) == ("Étienne", True)
    assert (bals["a@cabinet.test"].password_hash or "").startswith("$argon2id$")
    assert (bals["b@cabinet.test"].nom, bals["b@cabinet.test"].password_hash) == ("Durand, Fils", None)


def test_import_as_spreadsheets_save_it(operator: Operator, tmp_path: Path) -> None:
    file = csv(tmp_path, "address;type;nom\r\na@cabinet.test;PER;Martin\r\n", encoding="utf-8-sig")
    assert operator("bal", "import", file).out == "1 opened\n"


def test_import_names_every_faulty_line_and_opens_nothing(operator: Operator, store: Store, tmp_path: Path) -> None:
    operator.bal("taken")
    good = "x{}@cabinet.test,PER,,Martin\n"
    file = csv(
        tmp_path,
        "address,type,finess,nom\n" + good.format(1) + "y@cabinet.test,ROI,1,Martin\n"  # 3: two faults
        'z@cabinet.test,PER,,"a\nb"\n'  # 4 and 5
        "nowhere,PER,,Martin\n"  # 6
        "x1@cabinet.test,PER,,Martin\n"  # 7
        "v@cabinet.test,PER\n" + good.format(2),  # 8
    )
    ended = operator("bal", "import", file)
    assert ended.code == 1
    told = [line.removeprefix(f"mssante: {file}:").split(":")[0:2] for line in ended.lines[:-1]]
    assert [(line, key.strip()) for line, key in told] == [
        ("3", "type"),
        ("3", "finess"),
        ("4", "nom"),
        ("6", "address"),
        ("7", "address"),
        ("8", "2 fields under 4 columns"),
    ]
    assert "nothing was imported" in ended.lines[-1]
    assert [bal.address for bal in store.read_now(list_bals)] == ["taken@cabinet.test"]


def test_import_names_the_lines_of_taken_addresses(operator: Operator, store: Store, tmp_path: Path) -> None:
    operator.bal("taken")
    file = csv(tmp_path, "address,type\na@cabinet.test,PER\ntaken@cabinet.test,PER\n")
    ended = operator("bal", "import", file)
    assert ended.code == 1
    assert ended.lines[0] == f"mssante: {file}:3: address: taken@cabinet.test is taken"
    assert len(store.read_now(list_bals)) == 1


def test_import_names_every_fault_at_once(operator: Operator, store: Store, tmp_path: Path) -> None:
    """What cannot be read, weak passwords, addresses that are taken and named twice, over more than one page."""
    config = operator.directory / "mssante.toml"
    config.write_text(config.read_text().replace("\nmin_length = 0\n", "\n#min_length = 8\n"))
    operator.bal("taken")
    good = [f"x{number}@cabinet.test,PER,\n" for number in range(1100)]
    file = csv(
        tmp_path,
        "address,type,password\n"
        + "w@cabinet.test,PER,court\n"
        + "".join(good)  # 2
        + "taken@cabinet.test,PER,court\n"
        + "x0@cabinet.test,PER,un bon secret\n"
        + "nowhere,PER,\n",  # 1103 to 1105
    )
    ended = operator("bal", "import", file)
    assert ended.code == 1
    told = [line.removeprefix(f"mssante: {file}:") for line in ended.lines]
    assert [line.split(":")[0] for line in told[:-1]] == ["2", "1103", "1103", "1104", "1105"]
    for line, says in zip(told, ("too short", "too short", "is taken", "also on line 3", "nowhere"), strict=False):
        assert says in line
    assert "nothing was imported" in told[-1]
    assert len(store.read_now(list_bals)) == 1


def test_import_from_a_pipe(operator: Operator, store: Store, tmp_path: Path) -> None:
    file = csv(tmp_path, "address,type,password\na@cabinet.test,PER,un secret\nb@cabinet.test,PER,\n")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["/bin/cp", file, str(pipe)]):
        assert operator("bal", "import", str(pipe)).out == "2 opened\n"
    bals = {bal.address: bal.password_hash for bal in store.read_now(list_bals)}
    assert (bals["a@cabinet.test"] or "").startswith("$argon2id$") and bals["b@cabinet.test"] is None


def test_import_and_list_more_than_a_page(operator: Operator, tmp_path: Path) -> None:
    lines = [f"x{number}@cabinet.test,PER,{'un secret' if number in (3, 2300) else ''}\n" for number in range(2301)]
    assert operator("bal", "import", csv(tmp_path, "address,type,password\n" + "".join(lines))).out == "2301 opened\n"
    assert operator("patient", "create", INS, *TRAITS).code == 0
    listed = operator("bal", "list", "--json").json
    assert [bal["address"] for bal in listed] == [f"x{number}@cabinet.test" for number in range(2301)]
    assert len(operator("bal", "list").out.splitlines()) == 2302
    assert len(operator("regulateur", "journal", "--json").json) == 0


def test_import_shows_control_characters_escaped(operator: Operator, tmp_path: Path) -> None:
    """What a file says must not reach the terminal as it is."""
    file = csv(tmp_path, "address,type\na\x1b[2J@cabinet.test,PER\nb@cabinet.test,\x1b]0;x\x07\n")
    ended = operator("bal", "import", file)
    assert ended.code == 1
    assert all(line.isprintable() for line in ended.lines)
    assert "a\\x1b[2J@cabinet.test" in ended.lines[0]
    assert "\\x1b]0;X\\x07" in ended.lines[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: the header"),
        ("address,type\n", "no line after its header"),
        ("address,kind\na@cabinet.test,PER\n", ":1: the header"),
        ("address,type,type\n", ":1: the header"),
        ('address,type\n"a@cabinet.test,PER\n', "not CSV"),
    ],
)
def test_import_of_something_else(operator: Operator, tmp_path: Path, text: str, says: str) -> None:
    ended = operator("bal", "import", csv(tmp_path, text))
    assert ended.code == 2
    (line,) = ended.lines
    assert says in line


def test_import_of_no_text(operator: Operator, tmp_path: Path) -> None:
    assert "not UTF-8" in operator("bal", "import", csv(tmp_path, "é", encoding="latin-1")).err
    ended = operator("bal", "import", str(tmp_path / "none.csv"))
    assert (ended.code, len(ended.lines)) == (2, 1)


def test_a_draft_is_prepared_then_opened_and_closed_in_two_steps(operator: Operator, store: Store) -> None:
    address = operator.bal("a", "--draft")
    assert operator("bal", "show", address, "--json").json["state"] == "draft"
    assert operator("bal", "suspend", address, "--motif", "x").code == 1
    for arguments, state in (
        (("reopen",), "active"),
        (("close", "--begin", "--motif", "départ"), "closing"),
        (("close", "--motif", "départ"), "closed"),
    ):
        assert operator("bal", arguments[0], address, *arguments[1:]).code == 0
        assert operator("bal", "show", address, "--json").json["state"] == state
    last = [entry.action for entry in store.read_now(entries)][-3:]
    assert last == ["bal.reopened", "bal.closing", "bal.closed"]


def test_what_the_regulator_closed_is_not_purged(operator: Operator) -> None:
    """Else an appeal would find nothing to give back, and one person of the operator could see to that."""
    address = operator.bal("a")
    assert operator("regulateur", "clore", address, "--motif", "abus").code == 0
    ended = operator("bal", "purge", address, "--motif", "x")
    assert (ended.code, len(ended.lines)) == (1, 1)
    assert "was closed by the regulator" in ended.lines[0]
    assert operator("regulateur", "rouvrir", address, "--motif", "recours").code == 0
    for command in ("close", "purge"):
        assert operator("bal", command, address, "--motif", "demande").code == 0
    ended = operator("bal", "reopen", address)
    assert (ended.code, ended.lines) == (1, [f"mssante: {address} is closed: it stays so, open another address"])


def test_a_purged_mailbox_is_a_tombstone(operator: Operator, store: Store) -> None:
    address = operator.bal("a", "--nom", "Martin")
    assert operator("bal", "purge", address, "--motif", "x").code == 1
    for command in ("close", "purge"):
        assert operator("bal", command, address, "--motif", "demande").code == 0
    shown = operator("bal", "show", address, "--json").json
    assert (shown["state"], shown["rpps"], shown["nom"]) == ("closed", None, "")
    assert shown["purged"].endswith("Z")
    ended = operator("bal", "create", address, "--type", "PER")
    assert (ended.code, ended.lines) == (1, [f"mssante: the address {address} is taken"])
    assert operator("bal", "purge", address, "--motif", "x").code == 1
    assert operator("regulateur", "rouvrir", address).code == 1
    assert store.read_now(entries)[-1].detail["messages"] == 0


def test_an_adeli_turns_into_an_rpps_and_the_holder_stays(operator: Operator, store: Store) -> None:
    address = "a@cabinet.test"
    assert operator("bal", "create", address, "--type", "PER", "--adeli", "2A1234567").code == 0
    assert operator("bal", "identify", address, "--rpps", RPPS).code == 0
    shown = operator("bal", "show", address, "--json").json
    assert (shown["adeli"], shown["rpps"]) == ("2A1234567", RPPS)
    other = str(int(RPPS) + 1)
    for arguments, code, says in (
        ((), 2, "say what has changed"),
        (("--rpps", other), 2, "wrong key"),
        (("--adeli", "101234567"), 1, "adeli: is 2A1234567 and stays so"),
        (("--responsable", "Dr Noir"), 1, "responsable: a person answers for his own mailbox"),
    ):
        ended = operator("bal", "identify", address, *arguments)
        assert (ended.code, says in ended.err) == (code, True), ended.err
    assert store.read_now(entries)[-1].detail == {"rpps": RPPS}


def test_a_structure_has_a_siret_and_somebody_who_answers_for_it(operator: Operator) -> None:
    siret = "73282932000074"
    named = ("--siret", siret, "--responsable", "Dr Claire Martin", "--rpps", RPPS)
    assert operator("bal", "create", "labo@cabinet.test", "--type", "ORG", *named).code == 0
    shown = operator("bal", "show", "labo@cabinet.test", "--json").json
    assert (shown["siret"], shown["responsable"], shown["rpps"]) == (siret, "Dr Claire Martin", RPPS)
    ended = operator("bal", "create", "b@cabinet.test", "--type", "ORG", "--adeli", "101234567", "--siret", "1")
    assert (ended.code, len(ended.lines)) == (2, 2)


def test_weak_passwords_are_refused_before_anything_is_opened(operator: Operator) -> None:
    config = operator.directory / "mssante.toml"
    assert "\nmin_length = 0\n" in config.read_text()  # a trial's people have passwords that everybody knows
    assert operator("bal", "create", "x@cabinet.test", "--type", "PER", "--password-stdin", given="x").code == 0
    config.write_text(config.read_text().replace("\nmin_length = 0\n", "\n#min_length = 8\n"))
    for given, says in (
        ("court", "too short: 8 characters"),
        ("aaaaaaaaaa", "the same few characters"),
        ("Martine2026", "the mailbox's own name"),
    ):
        ended = operator("bal", "create", "martine@cabinet.test", "--type", "PER", "--password-stdin", given=given)
        assert ended.code == 1 and says in ended.err, ended.err
    assert [bal["address"] for bal in operator("bal", "list", "--json").json] == ["x@cabinet.test"]


def test_a_device_has_a_password_of_its_own_shown_once(operator: Operator, store: Store) -> None:
    address = operator.bal()
    made = operator("bal", "password", address, "--device", "téléphone").out.strip()
    assert len(made) == 23 and made.count("-") == 3
    assert operator("bal", "password", address, "--device", "poste", "--password-stdin", given="un secret").code == 0
    assert operator("bal", "password", address, "--device", "poste").code == 1
    listed = operator("bal", "password", address, "--list", "--json")
    assert [row["name"] for row in listed.json] == ["téléphone", "poste"]
    assert operator("bal", "password", address, "--device", "poste", "--revoke").code == 0
    assert operator("bal", "password", address, "--device", "poste", "--revoke").code == 1
    assert operator("bal", "password", address, "--revoke").code == 2
    for confused in (
        ("--list", "--revoke"),
        ("--list", "--device", "téléphone", "--revoke"),
        ("--list", "--password-stdin"),
        ("--device", "téléphone", "--revoke", "--password-stdin"),
    ):
        assert operator("bal", "password", address, *confused, given="un secret").code == 2
    shown = operator("bal", "show", address, "--json")
    assert shown.json["opened_by"] == [{"kind": "device", "name": "téléphone"}]
    told = listed.out + shown.out + str(store.read_now(entries))
    assert made not in told and "argon2" not in told


def test_a_certificate_of_an_organisation_opens_an_app_only(operator: Operator, tmp_path: Path) -> None:
    for kind in ("org", "serv"):
        names = ("--cn", "logiciel.test", "--ou", "3732829320000", "--o", "Labo", "--kind", kind)
        assert operator("pki", "issue", *names, "--out", str(tmp_path / kind)).code == 0
    org, serv = (str(tmp_path / kind / "cert.pem") for kind in ("org", "serv"))
    create = ("bal", "create", "labo@cabinet.test", "--certificate")
    assert operator(*create, org, "--type", "ORG").code == 1
    assert operator(*create, serv, "--type", "APP").code == 1
    assert operator(*create, str(tmp_path / "none"), "--type", "APP").code == 2
    assert operator("bal", "list", "--json").json == []
    assert operator(*create, org, "--type", "APP").code == 0
    assert operator("bal", "certificate", "labo@cabinet.test", "--add", org).code == 1
    (row,) = operator("bal", "certificate", "labo@cabinet.test", "--json").json
    assert "CN=logiciel.test" in row["name"]
    assert operator("bal", "certificate", "labo@cabinet.test", "--add", org, "--revoke", row["name"]).code == 2
    assert operator("bal", "certificate", "labo@cabinet.test", "--revoke", row["name"]).code == 0
    assert operator("bal", "certificate", "labo@cabinet.test", "--json").json == []
