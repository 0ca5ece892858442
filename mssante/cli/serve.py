"""`mssante serve`: everything that the configuration enables, in the foreground."""

import typer

from mssante.cli.frame import settings_of


def serve(context: typer.Context) -> None:
    """Serve in the foreground: prints one line "ready ..." when all ports listen.

    SIGTERM drains and exits 0; SIGHUP reloads certificates, CRLs, the white list and the configuration without
    dropping a session.
    """
    settings = settings_of(context)
    from mssante.app import run

    raise typer.Exit(run(settings))
