"""The command line. Its words, options and exit codes are a contract with people and programs outside.

What must always hold:
- Exit 0 done; 1 refused by a rule or not found; 2 wrong usage or configuration; 3 a needed service is out of reach.
- An error is one line on stderr, `mssante: what: what to do`; wrong input never shows a traceback.
- A command imports what it needs when it runs, so that `--help` and small commands start at once.
- Commands decide nothing: they read arguments, call the rooms below, and show what came back.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mssante.cli import (
    annuaire,
    audit,
    bal,
    conversation,
    doctor,
    indicateurs,
    init,
    liste_blanche,
    patient,
    pki,
    queue,
    regulateur,
    serve,
)
from mssante.cli.frame import USAGE, Failure, Invocation, complain, say

app = typer.Typer(
    name="mssante",
    help="An operator of MSSanté, France's trusted space for health mail.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"mssante {version('mssante')}")
        raise typer.Exit


@app.callback()
def mssante(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", metavar="FILE", help="Configuration; else $MSSANTE_CONFIG, else ./mssante.toml."
        ),
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say the version and end.")
    ] = False,
) -> None:
    """An operator of MSSanté, France's trusted space for health mail."""
    context.obj = Invocation(config)


app.command("init")(init.init)
app.command("serve")(serve.serve)
app.add_typer(bal.app, name="bal")
app.add_typer(patient.app, name="patient")
app.add_typer(conversation.app, name="conversation")
app.add_typer(liste_blanche.app, name="liste-blanche")
app.add_typer(annuaire.app, name="annuaire")
app.add_typer(queue.app, name="queue")
app.add_typer(regulateur.app, name="regulateur")
app.add_typer(audit.app, name="audit")
app.command("indicateurs")(indicateurs.indicateurs)
app.command("verify")(audit.verify_store)
app.command("doctor")(doctor.doctor)
app.add_typer(pki.app, name="pki")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from mssante.config import ConfigError

    given = sys.argv[1:] if arguments is None else arguments
    if any(0xDC80 <= ord(character) <= 0xDCFF for one in given for character in one):
        return _told(["an argument is not UTF-8: set the terminal, or LANG, to UTF-8"], USAGE)
    try:
        result: Any = app(args=arguments, prog_name="mssante", standalone_mode=False)
    except Failure as failure:
        return _told(failure.lines, failure.code)
    except ConfigError as error:
        return _told(error.lines(), USAGE)
    except typer.TyperException as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        return _told(["interrupted"], 130)
    return result if isinstance(result, int) else 0


def _told(lines: Sequence[str], code: int) -> int:
    for line in lines:
        complain(line)
    return code


def _misused(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mssante"
    message = error.format_message().rstrip(".")
    if message.startswith("Usage:"):
        # A group without a command: what it offers is the answer.
        print(error.format_message(), file=sys.stderr)
        return USAGE
    return _told([f"{message}: see {command} --help"], USAGE)
