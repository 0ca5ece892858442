"""`mssante pki`: further certificates of a development trust space, for tests."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mssante.cli.frame import REFUSED, USAGE, Failure, say, settings_of

app = typer.Typer(help="Further certificates of a development trust space, for tests.", no_args_is_help=True)


class Kind(StrEnum):
    """The offers of IGC-Santé that can be asked for."""

    SERV = "serv"
    ORG = "org"


@app.callback()
def pki() -> None:
    """Further certificates of a development trust space, for tests."""


@app.command()
def issue(
    context: typer.Context,
    cn: Annotated[str, typer.Option(help="CN: the host name of the operator.")],
    ou: Annotated[str, typer.Option(help="OU: 1 + FINESS, or 3 + SIRET.")],
    o: Annotated[str, typer.Option(help="O: the operator's legal name, cut at 40 characters.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where cert.pem (with its chain) and cert.key are written.")],
    kind: Annotated[Kind, typer.Option(help="serv: server and client; org: client only.")] = Kind.SERV,
    expired: Annotated[bool, typer.Option("--expired", help="Ended yesterday.")] = False,
    revoked: Annotated[bool, typer.Option("--revoked", help="On the revocation list at once.")] = False,
) -> None:
    """Make a certificate under the test authority of this operator's trust space."""
    from espace_confiance.development import TrustSpaceError, issue_certificate
    from mssante.domain.clock import SystemClock

    if expired and revoked:
        raise Failure("--expired and --revoked: choose one", USAGE)
    try:
        issue_certificate(
            settings_of(context).directory,
            cn=cn,
            ou=ou,
            o=o,
            kind=kind.value,
            out=out,
            now_us=SystemClock().now_us(),
            expired=expired,
            revoked=revoked,
        )
    except TrustSpaceError as error:
        raise Failure(str(error), REFUSED) from None
    except OSError as error:
        raise Failure(f"{out}: {error.strerror}: name a directory that can be written", USAGE) from None
    say(f"{out / 'cert.pem'}\n{out / 'cert.key'}")
