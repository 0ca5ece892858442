"""`mssante init`: a new operator of a development trust space, ready to serve.

What must always hold: nothing is overwritten, and `mssante.toml` is written last: where it stands, all the rest does.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mssante.cli.frame import REFUSED, USAGE, Failure, open_store, say

if TYPE_CHECKING:
    from espace_confiance.development import Operator as Member
    from espace_confiance.development import TrustSpace
    from mssante.config import Settings
    from mssante.settings import Operator


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    operator: Annotated[str, typer.Option(metavar="NAME", help="The operator's name.")],
    domain: Annotated[
        list[str] | None, typer.Option(metavar="D", help="A domain of professional mailboxes; may be repeated.")
    ] = None,
    patients: Annotated[bool, typer.Option("--patients", help="Host the citizens' domain too.")] = False,
    patient_domain: Annotated[
        str | None,
        typer.Option(metavar="D", help="Name of the citizens' domain.", show_default="patient.mssante.fr"),
    ] = None,
    hostname: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="CN of the certificate and EHLO name.", show_default="mx. + first domain"),
    ] = None,
    host: Annotated[str, typer.Option(metavar="H", help="Address to listen on.")] = "127.0.0.1",
    port_base: Annotated[
        int, typer.Option(metavar="N", help="MX at N, submission N+1 and N+2, IMAP N+3 and N+4, pages N+5, health N+6.")
    ] = 2500,
    dns: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The name server to ask.", show_default="the system's")
    ] = "",
    join: Annotated[
        Path | None, typer.Option(metavar="OTHER_DIR", help="Join the trust space of this operator's directory.")
    ] = None,
) -> None:
    """Write DIR/mssante.toml, keys and certificates of a development trust space, and an empty store."""
    said = _operator(operator, tuple(domain or ()), patients, patient_domain, hostname, join)
    settings = _settings(directory, said, host, port_base, dns)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Failure(f"{directory}: is not empty and nothing is overwritten: choose another directory", REFUSED)
    try:
        _create(directory, settings, join)
    except OSError as error:
        raise Failure(
            f"{error.filename or directory}: {error.strerror}: choose a directory to write in", USAGE
        ) from None
    say(f"{directory / 'mssante.toml'}: serve it with mssante -c {directory / 'mssante.toml'} serve")


def _operator(
    name: str,
    domains: tuple[str, ...],
    patients: bool,
    patient_domain: str | None,
    hostname: str | None,
    join: Path | None,
) -> "Operator":
    """Who the new operator is. The citizens' domains are those of the trust space that it joins."""
    from mssante.config import load
    from mssante.settings import Operator

    if not domains and not patients:
        raise Failure("at least one --domain D, or --patients, is needed", USAGE)
    domains = tuple(dict.fromkeys(domain.lower() for domain in domains))
    known = (
        load(join / "mssante.toml").operator.patient_domains if join else Operator(name="", hostname="").patient_domains
    )
    if patient_domain:
        known = (patient_domain.lower(), *(known if join else ()))
    hosted = known[0] if patients else ""
    return Operator(
        name=name,
        hostname=(hostname or f"mx.{[*domains, hosted][0]}").lower(),
        domains=domains,
        patient_domain=hosted,
        patient_domains=tuple(dict.fromkeys(known)),
    )


def _settings(directory: Path, operator: "Operator", host: str, port_base: int, dns: str) -> "Settings":
    from mssante.config import contradictions
    from mssante.settings import SERVICES, Dns, EspaceConfiance, Listen, Settings
    from mssante.settings_people import Passwords

    if not 1 <= port_base <= 65529:
        raise Failure(f"--port-base {port_base}: must be between 1 and 65529", USAGE)
    ports = {service: port_base + place for place, service in enumerate(SERVICES)}
    listen = Listen(host=host, **ports)
    # The list of a development trust space is made here and nobody publishes it: it does not age.
    espace = EspaceConfiance(routes=Path("espace/routes.toml"), alarm_hours=0, hard_stop_days=0)
    file = directory.absolute() / "mssante.toml"
    settings = Settings(
        operator=operator,
        listen=listen,
        espace_confiance=espace,
        dns=Dns(server=dns),
        passwords=Passwords(min_length=0),  # people of a trial have passwords that everybody knows
        file=file,
    )
    for _, key, problem in contradictions(settings):
        raise Failure(f"{key}: {problem}", USAGE)
    return settings


def _create(directory: Path, settings: "Settings", join: Path | None) -> None:
    from espace_confiance.development import Operator, TrustSpaceError, create_trust_space, join_trust_space
    from mssante.config import load, sample
    from mssante.domain.clock import SystemClock
    from mssante.store.keys import create_master_key
    from tls.authority import key_pem, new_key
    from tls.files import replace_file, write_private

    said = settings.operator
    listen = "127.0.0.1" if settings.listen.host in ("0.0.0.0", "::") else settings.listen.host
    member = Operator(said.name, said.hostname, settings.own_domains, listen, settings.listen.mx)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        if join is None:
            create_trust_space(directory, member, now_us=SystemClock().now_us())
        else:
            _tell_of_shared_port(join_trust_space(directory, join, member, now_us=SystemClock().now_us()), member)
    except TrustSpaceError as error:
        _undone(directory, str(error))
    (directory / "data").mkdir(mode=0o700)
    create_master_key(directory / settings.store.master_key)
    write_private(directory / settings.dkim.key, key_pem(new_key()))
    unfinished = directory / ".mssante.toml"
    replace_file(unfinished, sample(settings).encode())
    with open_store(load(unfinished, environment={}), create=True):
        unfinished.rename(settings.file)


def _tell_of_shared_port(space: "TrustSpace", member: "Member") -> None:
    """Said, not refused: who joins to be listed only, and never serves, needs no port of his own."""
    from espace_confiance.routes import read_routes

    place = (member.host, member.port)
    other = next((to for to, at in read_routes(space.routes).items() if at == place and to not in member.domains), None)
    if other:
        typer.echo(
            f"mssante: {member.host}:{member.port} is also the MX of {other} in this trust space: "
            "before both serve, give one of them another --port-base",
            err=True,
        )


def _undone(directory: Path, problem: str) -> NoReturn:
    if not any(directory.iterdir()):
        directory.rmdir()
    raise Failure(problem, REFUSED)
