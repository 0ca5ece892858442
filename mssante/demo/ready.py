"""`make run`: a ready-to-use operator in a directory, with two mailboxes and a citizen's.

What must always hold: an operator that is already there is left as it is, and other ports than its own are refused, as
is what an interrupted start left; the passwords stand in one file that only its owner reads.
"""

import secrets
import sys
from pathlib import Path

from mssante.config import ConfigError, load
from mssante.demo.operators import DemoFailure, mssante
from mssante.domain.identifiers import luhn_holds
from mssante.domain.ins import ins_key
from tls.files import write_private

DOMAIN = "cabinet.mssante.example"


def prepare(directory: Path, port_base: str = "") -> str:
    """What a mail program needs to know of the operator in `directory`, made with ports from `port_base` (2500) on when
    it is not there yet. DemoFailure says what to do about one that is half made or has other ports."""
    config, note = directory / "mssante.toml", directory / "comptes.txt"
    if not config.exists():
        operator = (
            "--operator",
            "Cabinet du Port",
            "--domain",
            DOMAIN,
            "--patients",
            "--port-base",
            port_base or "2500",
        )
        mssante("init", str(directory), *operator)
        write_private(note, "".join(_mailboxes(config)).encode())
    if not note.exists():
        raise DemoFailure(f"{directory}/ was left half made: remove it and say it again")
    listen = load(config).listen
    if port_base and str(listen.mx) != port_base:
        raise DemoFailure(
            f"{directory}/ has the ports from {listen.mx} on: change [listen] in {config}, or remove {directory}/"
        )
    return (
        f"mailboxes and passwords: {note}; authority to trust: {directory / 'pki' / 'ca.pem'}\n"
        f"submission: {listen.host} port {listen.submissions} (TLS) or {listen.submission} (STARTTLS); "
        f"IMAP: port {listen.imaps} (TLS) or {listen.imap} (STARTTLS)"
    )


def _mailboxes(config: Path) -> list[str]:
    lines = []
    for number, (prenom, nom) in enumerate((("claire", "martin"), ("paul", "petit")), 1):
        digits = f"800000000{number}"
        rpps = digits + next(key for key in "0123456789" if luhn_holds(digits + key))
        address, password = f"{prenom}.{nom}@{DOMAIN}", secrets.token_urlsafe(12)
        who = ("--type", "PER", "--rpps", rpps, "--nom", nom.title(), "--prenom", prenom.title(), "--password-stdin")
        mssante("-c", str(config), "bal", "create", address, *who, given=password)
        lines.append(f"{address} {password}\n")
    matricule = "2990175990001"
    ins, password = f"{matricule}{ins_key(matricule):02d}", secrets.token_urlsafe(12)
    traits = ("--nom", "DURAND", "--prenoms", "Jeanne", "--naissance", "1999-01-15", "--sexe", "F", "--lieu", "75115")
    mssante("-c", str(config), "patient", "create", ins, *traits, "--password-stdin", given=password)
    return [*lines, f"{ins}@patient.mssante.fr {password}\n"]


if __name__ == "__main__":
    try:
        sys.stdout.write(prepare(Path(sys.argv[1]), *sys.argv[2:3]) + "\n")
    except (DemoFailure, ConfigError) as failure:
        sys.exit(f"run: {failure}")
