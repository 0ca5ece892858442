"""`mssante annuaire`: the national directory: its copy, searched; own mailboxes published to it."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import REFUSED, UNREACHABLE, USAGE, Failure, Json, details, iso, listing, open_store, settings_of

if TYPE_CHECKING:
    from annuaire.fiche import Fiche
    from annuaire.source import Spec
    from mssante.config import Settings
    from mssante.store.annuaire import Copy

app = typer.Typer(
    help="The national directory: its copy here, and own mailboxes published to it.", no_args_is_help=True
)

Force = Annotated[bool, typer.Option("--force", help="Take it as it is, however much would vanish.")]
SOURCES = ("ldap", "extraction", "fhir")


@app.command()
def sync(
    context: typer.Context,
    source: Annotated[
        str, typer.Option(metavar="|".join(SOURCES), help="Instead of the source of the configuration.")
    ] = "",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Read the source now; what is searched stays as it was until all of it is read and believed."""
    from mssante.directory import spec_of

    settings = settings_of(context)
    wanted = source or settings.annuaire.source
    if wanted not in SOURCES:
        said = f"{wanted!r} is not a source" if wanted else "no source is configured"
        raise Failure(f"{said}: name one of {', '.join(SOURCES)} in [annuaire] source or with --source", USAGE)
    spec = spec_of(settings, wanted)
    if spec is None:
        where = {
            "ldap": "[annuaire_ldap] url",
            "extraction": "[annuaire] extraction_url",
            "fhir": "[annuaire] fhir_url",
        }
        raise Failure(f"{wanted}: the configuration does not say where it is: {where[wanted]}", USAGE)
    _read(settings, spec, force, as_json)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The extraction, .txt or .zip.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Take an extraction file; what is searched stays as it was until all of it is read and believed."""
    from annuaire.source import Extraction

    if not file.is_file():
        raise Failure(f"{file}: no such file: name an existing one", USAGE)
    _read(settings_of(context), Extraction(path=str(file.absolute())), force, as_json)


@app.command()
def search(
    context: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="WORDS", help="RPPS, name, profession, place, establishment, in any order.")
    ],
    most: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=500, help="Most lines shown.")] = 20,
    as_json: Json = False,
) -> None:
    """Find addresses, as people type: without accents, in part, with a slip; mailboxes in liste rouge are not shown."""
    from mssante.services.recherche import search

    with open_store(settings_of(context)) as store:
        found = store.read_now(search, " ".join(words), most)
    if not found and not as_json:
        raise Failure("nobody found: try fewer words, or the RPPS")
    listing([_row(fiche) for fiche in found], as_json)
    if not found:
        raise typer.Exit(REFUSED)


@app.command()
def show(
    context: typer.Context,
    asked: Annotated[str, typer.Argument(metavar="RPPS-or-ADDRESS", help="A person, or a mailbox.")],
    as_json: Json = False,
) -> None:
    """Everything that the directory says of a person or a mailbox."""
    from mssante.services.recherche import show

    with open_store(settings_of(context)) as store:
        try:
            found = store.read_now(show, asked)
        except ValueError as error:
            raise Failure(f"{asked!r}: {error}", USAGE) from None
    if not found:
        raise Failure(f"{asked}: not in the copy of the annuaire: see mssante annuaire status")
    listing([_row(fiche) | _more(fiche) for fiche in found], True) if as_json else _pages(found)


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """The copy: source, age, counts, last change, what was left out and why; own mailboxes published."""
    from mssante.directory import directory_alarms
    from mssante.domain.clock import SystemClock
    from mssante.services.publication import states
    from mssante.store import annuaire as copies

    settings = settings_of(context)
    with open_store(settings) as store:
        copy = store.read_now(copies.copy)
        published = Counter(row["state"] for row in store.read_now(states))
    now_us = SystemClock().now_us()
    alarm = next((alarm.text for alarm in directory_alarms(settings, copy, now_us)), None)
    more = {"published": published, "publication": settings.publication.to or None, "alarm": alarm}
    details(_status(copy, now_us) | more, as_json)
    if alarm:
        raise Failure(f"annuaire: {alarm}")
    if not copy.generation:
        raise Failure("annuaire: nothing was read so far: mssante annuaire import FILE, or name a [annuaire] source")


@app.command()
def publish(context: typer.Context, as_json: Json = False) -> None:
    """Tell the directory what has changed of own mailboxes, read what it answered, and show how each one stands."""
    from mssante.directory import policy_of, way_of
    from mssante.domain.clock import SystemClock
    from mssante.services.publication import publish, states

    settings = settings_of(context)
    way = way_of(settings)
    if way is None:
        raise Failure("nothing is published: say how in [publication] to", USAGE)
    with open_store(settings) as store:
        problems = asyncio.run(publish(store, way, policy_of(settings), SystemClock().now_us()))
        rows = store.read_now(states)
    listing([_standing(row) for row in rows], as_json)
    if problems:
        code = UNREACHABLE if any(problem.unreachable for problem in problems) else REFUSED
        raise Failure([f"publication: {problem.text}" for problem in problems], code)


def _standing(row: dict[str, Any]) -> dict[str, Any]:
    return {key.removesuffix("_us"): iso(value) if key.endswith("_us") else value for key, value in row.items()}


def _read(settings: "Settings", spec: "Spec", force: bool, as_json: bool) -> None:
    from mssante.directory import guard_of
    from mssante.domain.clock import SystemClock
    from mssante.services.annuaire import SyncRefused, sync
    from mssante.store import annuaire as copies

    now_us = SystemClock().now_us()
    with open_store(settings) as store:
        try:
            asyncio.run(sync(store, spec, guard_of(settings), now_us, force=force))
        except SyncRefused as refusal:
            code = UNREACHABLE if refusal.unreachable else REFUSED
            raise Failure(f"annuaire: {refusal}; the copy at hand stays", code) from None
        copy = store.read_now(copies.copy)
    details(_status(copy, now_us), as_json)


def _status(copy: "Copy", now_us: int) -> dict[str, Any]:
    return {
        "source": copy.source or None,
        "cursor": copy.cursor or None,
        "checked": iso(copy.checked_us or None),
        "age_seconds": max(0, now_us - copy.checked_us) // 1_000_000 if copy.checked_us else None,
        "complete": iso(copy.complete_us or None),
        "changed": iso(copy.changed_us or None),
        "fiches": copy.fiches,
        "addresses": copy.addresses,
        "holders": copy.holders,
        "added": copy.added,
        "removed": copy.removed,
        "refused_rows": copy.faulty,
        "refused": [{"place": fault.place, "problem": fault.problem} for fault in copy.faults],
        "tried": iso(copy.tried_us or None),
        "problem": copy.problem or None,
        "reading_now": bool(copy.owner) and copy.until_us > now_us,
    }


def _row(fiche: "Fiche") -> dict[str, Any]:
    personne, structure = fiche.personne, fiche.structure
    return {
        "address": str(fiche.address),
        "type": fiche.type_bal,
        "identifier": personne.identifier.number if personne and personne.identifier else None,
        "nom": personne.nom if personne else None,
        "prenom": personne.prenom if personne else None,
        "profession": fiche.profession.savoir_faire_libelle or fiche.profession.libelle or None,
        "structure": (structure.enseigne or structure.raison_sociale or None) if structure else None,
        "place": " ".join(filter(None, (structure.code_postal, *structure.adresse[-1:]))) or None
        if structure
        else None,
    }


def _more(fiche: "Fiche") -> dict[str, Any]:
    personne, structure = fiche.personne, fiche.structure
    return {
        "civilite": (personne.civilite or None) if personne else None,
        "categorie": fiche.profession.categorie_libelle or None,
        "profession_code": fiche.profession.code or None,
        "profession_libelle": fiche.profession.libelle or None,
        "savoir_faire": fiche.profession.savoir_faire or None,
        "service": fiche.service or None,
        "structure_identifier": structure.number if structure else None,
        "adresse": list(structure.adresse) if structure else [],
        "code_postal": (structure.code_postal or None) if structure else None,
        "departement": (structure.departement or None) if structure else None,
        "dematerialisation": fiche.dematerialisation,
    }


def _pages(found: "list[Fiche]") -> None:
    from mssante.cli.frame import say

    for number, fiche in enumerate(found):
        if number:
            say("")
        details(_row(fiche) | _more(fiche), False)
