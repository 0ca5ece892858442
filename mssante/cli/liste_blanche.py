"""`mssante liste-blanche`: the trust space as this operator sees it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import REFUSED, UNREACHABLE, USAGE, Failure, Json, details, iso, listing, settings_of

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
    from espace_confiance.liste_blanche import ListeRefusee

    settings = settings_of(context)
    for path in (file, signer):
        if path is not None and not path.is_file():
            raise Failure(f"{path}: no such file: name an existing one", USAGE)
    espace = _espace(settings)
    try:
        espace.import_file(file, signer)
    except ListeRefusee as error:
        raise Failure(f"{file}: not taken: {error}; the list in force stays", REFUSED) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}: let this account write there", USAGE) from None
    details(_status(espace), as_json)


@app.command()
def refresh(context: typer.Context, as_json: Json = False) -> None:
    """Fetch the list from its url now, or without one verify the file again; a running server takes it at once."""
    settings = settings_of(context)
    espace = _espace(settings)
    if espace.url:
        _fetch(settings, espace)
    elif espace.fault:
        raise Failure(f"{espace.fault}: bring a good list by mssante liste-blanche import FILE", REFUSED)
    details(_status(espace), as_json)


def _fetch(settings: "Settings", espace: "EspaceConfiance") -> None:
    import asyncio

    from espace_confiance.fetch import FetchFailed
    from espace_confiance.liste_blanche import ListeRefusee
    from espace_confiance.upkeep import refresh_liste
    from mssante.trust import contexts_of
    from tls.certificates import TlsError

    try:
        asyncio.run(refresh_liste(espace, contexts_of(settings).https_client()))
    except TlsError as error:
        raise Failure(f"tls: {error}", USAGE) from None
    except FetchFailed as error:
        raise Failure(f"{error}; the list at hand stays", UNREACHABLE) from None
    except ListeRefusee as error:
        raise Failure(f"{espace.url}: not taken: {error}; the list at hand stays", REFUSED) from None
    except OSError as error:
        raise Failure(f"{settings.espace_confiance.liste}: cannot be written: {error.strerror}", UNREACHABLE) from None


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """What list is in force: dates, ages, signer and counts, the last and next look at its url, what was refused."""
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
    liste = _espace(settings_of(context)).held
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
    from mssante.domain.clock import SystemClock
    from mssante.trust import espace_of

    return espace_of(settings, SystemClock())


def _status(espace: "EspaceConfiance") -> dict[str, Any]:
    facts = espace.status()
    return {key.removesuffix("_us"): iso(value) if key.endswith("_us") else value for key, value in facts.items()}
