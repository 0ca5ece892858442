"""The annuaire as the settings describe it: for `serve`, for the commands, for `doctor`.

Always true here: settings are turned into annuaire and its services in this file alone, so that a command and the
running service do alike.
"""

from pathlib import Path
from urllib.parse import urlsplit

from annuaire.publication import FhirPatch, FileDrop, Layout, Way
from annuaire.source import Extraction, Fhir, Ldap, Spec
from espace_confiance.alarms import Alarm
from mssante.domain.clock import HOUR_US, Clock
from mssante.services.annuaire import Guard
from mssante.services.annuaire_upkeep import AnnuaireUpkeep
from mssante.services.publication import Policy
from mssante.settings import Settings
from mssante.store import Store
from mssante.store.annuaire import Copy


def upkeep_of(settings: Settings, store: Store, clock: Clock) -> AnnuaireUpkeep:
    """The work that goes on while serving: reading the source, feeding the address books, publishing."""
    said = settings.annuaire
    return AnnuaireUpkeep(
        store,
        clock,
        spec=spec_of(settings, said.source),
        guard=guard_of(settings),
        refresh_s=said.refresh_s,
        carnet=carnet_of(settings),
        holders=settings.carnet.sign_in == "holders",
        way=way_of(settings),
        policy=policy_of(settings),
        interval_s=settings.publication.interval_s,
    )


def spec_of(settings: Settings, source: str) -> Spec | None:
    """How this source (extraction, ldap, fhir) is read; None when the settings do not say where it is."""
    said, ldap = settings.annuaire, settings.annuaire_ldap
    roots = str(said.roots or settings.tls.roots)
    if source == "extraction" and said.extraction_url:
        return Extraction(url=said.extraction_url, roots=roots)
    if source == "fhir" and said.fhir_url:
        return Fhir(url=said.fhir_url, key_file=_path(said.fhir_key_file), roots=roots, per_second=said.fhir_per_second)
    if source == "ldap" and ldap.url:
        own = ldap.client_certificate
        return Ldap(
            url=ldap.url,
            base=ldap.base,
            filter=ldap.filter,
            attributes=pairs_of(ldap.attributes),
            page_size=ldap.page_size,
            bind_dn=ldap.bind_dn,
            password_file=_path(ldap.password_file),
            roots=roots,
            certificate=str(settings.tls.certificate) if own else "",
            key=str(settings.tls.key) if own else "",
            timeout_s=ldap.timeout_s,
            library=ldap.library,
        )
    return None


def carnet_of(settings: Settings) -> Ldap | None:
    """The slapd of the address books; None when there is none to feed."""
    said = settings.carnet
    if not said.url:
        return None
    return Ldap(
        url=said.url,
        base=said.base,
        filter="",
        attributes={},
        bind_dn=said.bind_dn,
        password_file=_path(said.password_file),
        roots=str(settings.tls.roots),
    )


def way_of(settings: Settings) -> Way | None:
    """How own mailboxes are told to the directory; None when they are not."""
    said = settings.publication
    if said.to == "file":
        layout = Layout(pairs_of(said.layout), pairs_of(said.report), said.separator, said.accepted)
        return FileDrop(said.folder, layout)
    if said.to == "fhir":
        roots = str(settings.annuaire.roots or settings.tls.roots)
        per_second = settings.annuaire.fhir_per_second
        return FhirPatch(
            Fhir(url=said.fhir_url, key_file=_path(said.fhir_key_file), roots=roots, per_second=per_second)
        )
    return None


def policy_of(settings: Settings) -> Policy:
    """What of own mailboxes is told."""
    said = settings.publication
    return Policy(said.liste_rouge == "flag", said.silence_days * 24 * HOUR_US)


def guard_of(settings: Settings) -> Guard:
    """What a reading may not do."""
    return Guard(settings.annuaire.vanish_percent, settings.annuaire.complete_hours * HOUR_US)


def directory_alarms(settings: Settings, copy: Copy, now_us: int) -> list[Alarm]:
    """Why the copy cannot be relied upon any more, when it cannot. Mail goes on."""
    alarm_us = settings.annuaire.alarm_hours * HOUR_US
    if not settings.annuaire.source or not alarm_us or now_us - copy.checked_us <= alarm_us:
        return []
    why = copy.problem or "no reading has come to its end"
    since = f"for {(now_us - copy.checked_us) // HOUR_US} hours" if copy.checked_us else "at all"
    text = f"the source has not been read {since}: {why}: see mssante annuaire status"
    return [Alarm("annuaire", urgent=False, text=text)]


def source_of(settings: Settings) -> tuple[str, int] | None:
    """(host, port) of the source that is read while serving; None when there is none."""
    spec = spec_of(settings, settings.annuaire.source)
    if spec is None:
        return None
    parts = urlsplit(spec.url)
    ports = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636}
    return parts.hostname or "localhost", parts.port or ports.get(parts.scheme, 0)


def pairs_of(said: tuple[str, ...]) -> dict[str, str]:
    """``("a=b",)`` → {a: b}."""
    return {left: right for left, _, right in (pair.partition("=") for pair in said)}


def _path(path: Path | None) -> str:
    return str(path or "")
