"""The rooms of trust as the settings describe them: for `serve`, for the commands, for `doctor`.

Always true here: settings are turned into espace_confiance and tls in this file alone, so that a command and the
running service judge alike.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from espace_confiance.alarms import Alarm, certificate_alarms, crl_alarms, liste_alarms
from espace_confiance.contact import Life
from espace_confiance.holder import EspaceConfiance
from espace_confiance.revocation import Revocation
from espace_confiance.signer import SignerFiles
from mssante.domain.clock import HOUR_US, Clock
from mssante.settings import Settings
from tls.certificates import TlsError
from tls.contexts import Contexts, https_client

if TYPE_CHECKING:
    from mssante.services.patient_notices import Relay
    from mssante.services.pro_sante_connect import ProSanteConnect


def contexts_of(settings: Settings) -> Contexts:
    """The TLS contexts. Raises TlsError naming the faulty file."""
    tls = settings.tls
    return Contexts(
        tls.certificate,
        tls.key,
        tls.roots,
        tls.crl,
        crl_required=tls.crl_required,
        client_certificates=tls.client_certificates,
    )


def connect_of(settings: Settings) -> "ProSanteConnect | None":
    """Pro Santé Connect, None when no tokens are taken. Raises TlsError naming the faulty file."""
    said = settings.pro_sante_connect
    if not said.issuer:
        return None
    from mssante.services.pro_sante_connect import Issuer, ProSanteConnect

    secret = ""
    if said.check == "introspection" and said.client_secret_file is not None:
        secret = _secret(said.client_secret_file)
    issuer = Issuer(
        said.issuer,
        frozenset(said.audiences),
        client_id=said.client_id if said.check == "introspection" else "",
        client_secret=secret,
        discovery=said.discovery,
        timeout_s=said.timeout_s,
    )
    return ProSanteConnect(issuer, https_client(said.roots))


def relay_of(settings: Settings) -> "Relay | None":
    """The relay of the citizens' notices, None when none go. Raises TlsError naming the faulty file."""
    said = settings.patient_notices
    if not said.host:
        return None
    from mssante.services.patient_notices import Relay

    password = _secret(said.password_file) if said.user and said.password_file is not None else ""
    return Relay(
        said.host,
        said.port,
        None if said.tls == "off" else https_client(said.roots),
        said.tls == "implicit",
        said.user,
        password,
        said.timeout_s,
    )


def _secret(file: Path) -> str:
    try:
        return file.read_text("utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise TlsError(f"{file}: {fault}: name the file of the secret") from fault


def life_of(settings: Settings) -> Life:
    """The ages of the white list."""
    said = settings.espace_confiance
    return Life(
        url=said.url,
        refresh_us=said.refresh_s * 1_000_000,
        alarm_us=said.alarm_hours * HOUR_US,
        stop_us=said.hard_stop_days * 24 * HOUR_US,
    )


def espace_of(settings: Settings, clock: Clock) -> EspaceConfiance:
    """The trust space, its file read and verified."""
    said = settings.espace_confiance
    signer = SignerFiles(said.signer, authority=said.signer_ca, cn=said.signer_cn, crl=settings.tls.crl)
    return EspaceConfiance(said.liste, signer, life=life_of(settings), clock=clock)


def revocation_of(settings: Settings, clock: Clock) -> Revocation | None:
    """The fetching of revocation lists; None when revocation is not checked."""
    tls = settings.tls
    return Revocation(tls.crl, tls.roots, tls.certificate, tls.crl_urls, clock) if tls.crl is not None else None


def alarms(contexts: Contexts, espace: EspaceConfiance, crl_ahead_us: int, now_us: int) -> Iterator[Alarm]:
    """All that will stop the exchange of mail, or has stopped it. crl_ahead_us: when a CRL's end is announced."""
    yield from certificate_alarms(contexts.certificate, now_us)
    yield from crl_alarms(contexts.crls, required=contexts.crl_required, ahead_us=crl_ahead_us, now_us=now_us)
    yield from liste_alarms(espace)
