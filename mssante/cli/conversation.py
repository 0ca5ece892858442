"""`mssante conversation`: who may write to whom."""

from typing import Annotated

import typer

from mssante.cli.frame import Failure, Json, address_of, iso, listing, open_store, settings_of

app = typer.Typer(help="The exchanges between professionals and citizens.", no_args_is_help=True)


@app.callback()
def conversation() -> None:
    """The exchanges between professionals and citizens."""


@app.command("list")
def list_(
    context: typer.Context,
    bal: Annotated[str, typer.Option(metavar="A", help="Only those of this professional's mailbox.")] = "",
    patient: Annotated[str, typer.Option(metavar="INS", help="Only those of this citizen.")] = "",
    as_json: Json = False,
) -> None:
    """Who may write to whom: open or ended, since when, by which message."""
    from mssante.domain.ins import InsError, parse_ins
    from mssante.store.exchanges import list_exchanges

    settings = settings_of(context)
    professional = str(address_of(bal)) if bal else None
    try:
        matricule = parse_ins(patient.partition("@")[0]).matricule if patient else ""
    except InsError as error:
        raise Failure(f"--patient: {error}: 13 characters and their key of two digits", 2) from None
    domains = settings.operator.patient_domains if patient else (None,)
    with open_store(settings) as store:
        found = [
            one
            for domain in domains
            for one in store.read_now(list_exchanges, professional, domain and str(address_of(f"{matricule}@{domain}")))
        ]
    listing(
        [
            {
                "professional": one.professional,
                "patient": one.patient,
                "state": str(one.state),
                "since": iso(one.since_us),
                "message_id": one.message_id,
            }
            for one in found
        ],
        as_json,
    )
