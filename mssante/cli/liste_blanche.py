"""`mssante liste-blanche`: the trust space as this operator sees it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import REFUSED, USAGE, Failure, Json, details, iso, listing, settings_of

if TYPE_CHECKING:
    from espace_confiance.holder import EspaceConfiance
    from mssante.config import Settings

app = typer.Typer(help="The trust space as this operator sees it.", no_args_is_help=True)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The signed list, as published.")],
    signer: Annotated[
        Path | None,
        typer.Option(
            metavar="CERT.pem", help="The certificate that signs it from now on, instead of the configured one."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a white list and put it in force; a running server takes it at once."""
    from espace_confiance.holder import EspaceConfiance
    from espace_confiance.liste_blanche import ListeRefusee

    where = settings_of(context).espace_confiance
    for path in (file, signer):
        if path is not None and not path.is_file():
            raise Failure(f"{path}: no such file: name an existing one", USAGE)
    espace = EspaceConfiance(where.liste, where.signer)
    try:
        espace.import_file(file, signer)
    except ListeRefusee as error:
        raise Failure(f"{file}: not taken: {error}; the list in force stays", REFUSED) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}: let this account write there", USAGE) from None
    details(_status(espace), as_json)


@app.command()
def refresh(context: typer.Context, as_json: Json = False) -> None:
    """Verify the configured file again. This version fetches no list: bring it by `liste-blanche import`."""
    settings = settings_of(context)
    espace = _espace(settings)
    status = _status(espace)
    if status["refused"]:
        raise Failure(f"{status['refused']}: bring a good list by mssante liste-blanche import FILE", REFUSED)
    details(status, as_json)


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """What list is in force: its date, signer and counts, and why a file was refused."""
    facts = _status(_espace(settings_of(context)))
    details(facts, as_json)
    if not facts["in_force"]:
        raise typer.Exit(REFUSED)


@app.command()
def show(
    context: typer.Context,
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain of the trust space.")],
    as_json: Json = False,
) -> None:
    """The entries of a domain: the certificates that may speak for it, and whom to call."""
    liste = _espace(settings_of(context)).liste
    if liste is None:
        raise Failure("no white list is in force: see mssante liste-blanche status")
    entries = liste.entries_for(domain)
    if not entries:
        raise Failure(f"{domain}: not of the trust space: no entry in the list of {iso(liste.generated_us)}")
    listing(
        [
            {
                "domain": entry.nom,
                "dn": entry.dn_text,
                "description": entry.description,
                "responsable": entry.responsable,
                "support": entry.support,
                "updated": iso(entry.maj_us),
            }
            for entry in entries
        ],
        as_json,
    )


def _espace(settings: "Settings") -> "EspaceConfiance":
    from espace_confiance.holder import EspaceConfiance

    return EspaceConfiance(settings.espace_confiance.liste, settings.espace_confiance.signer)


def _status(espace: "EspaceConfiance") -> dict[str, Any]:
    facts = espace.status()
    return {key.removesuffix("_us"): iso(value) if key.endswith("_us") else value for key, value in facts.items()}
