"""`mssante indicateurs`: the monthly figures for the ANS."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from mssante.cli.frame import USAGE, Failure, Json, open_store, say, settings_of, show_json


def indicateurs(
    context: typer.Context,
    mois: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month, UTC.")],
    as_json: Json = False,
) -> None:
    """Mailboxes by type, those that were used, sessions and messages of a month: a CSV, or by your own template."""
    from mssante.services.indicateurs import LAYOUT, LayoutFault, figures, rendered

    settings = settings_of(context)
    try:
        first = datetime.strptime(mois, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise Failure(f"--mois: {mois!r} is not a month such as 2026-11", USAGE) from None
    if first > datetime.now(UTC):
        raise Failure(f"--mois {mois}: has not begun", USAGE)
    layout, file = LAYOUT, settings.life_cycle.indicateurs_layout
    if file is not None:
        try:
            layout = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise Failure(f"{file}: {fault}: see [life_cycle] indicateurs_layout", USAGE) from None
    with open_store(settings) as store:
        counted = store.read_now(figures, first.year * 12 + first.month - 1)
    known = {"mois": mois, "operateur": settings.operator.name, **counted}
    if as_json:
        show_json(known)
        return
    try:
        text = rendered(layout, {name: str(value) for name, value in known.items()})
    except LayoutFault as fault:
        raise Failure(f"{file}: {fault}", USAGE) from None
    say(text.rstrip("\n"))
