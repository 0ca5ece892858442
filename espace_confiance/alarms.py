"""What will stop the exchange of mail, told before it does: own certificate, revocation lists, white list.

Invariants
- One function knows all of it; `doctor`, the log and the metrics only repeat what it says.
- An alarm names the date at which things stop, and what to do. It is `urgent` when they have stopped, or nearly.
- Times are int microseconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from espace_confiance.holder import EspaceConfiance
from tls.certificates import CertificateFacts
from tls.crl import CrlFacts

EXPIRY_DAYS = (90, 60, 30)
"""When the own certificate's expiry is announced; renewal at IGC-Santé takes weeks and is impossible after expiry."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """subject: certificate, revocation or white list. text: one line, English, with what to do.

    urgent: it has happened, or nearly. stops: no mail is exchanged now, with all operators or with some.
    """

    subject: str
    urgent: bool
    text: str
    stops: bool = False


def certificate_alarms(certificate: CertificateFacts, now_us: int) -> Iterator[Alarm]:
    """The own certificate, from 90 days before its expiry; urgent from 30."""
    days, until = certificate.days_left(now_us), iso(certificate.not_after_us)
    if days < 0:
        text = f"expired on {until}: no operator accepts it; ask the authority for a new one"
        yield Alarm("certificate", True, text, stops=True)
    passed = [limit for limit in EXPIRY_DAYS if 0 <= days <= limit]
    if passed:
        text = f"expires in {days} days, on {until} (under {min(passed)} days): renew it, it is impossible afterwards"
        yield Alarm("certificate", min(passed) == EXPIRY_DAYS[-1], text)


def crl_alarms(crls: tuple[CrlFacts, ...], *, required: bool, ahead_us: int, now_us: int) -> Iterator[Alarm]:
    """The revocation lists: missing, expired, or to expire within `ahead_us`."""
    then = "every certificate of it is refused" if required else "certificates pass unchecked"
    for crl in crls:
        if not crl.held:
            yield Alarm("revocation", True, f"no list of {crl.issuer}: {then}; see [tls] crl_urls", required)
        elif not crl.current(now_us):
            text = f"the list of {crl.issuer} expired on {iso(crl.next_update_us)}: {then}; fetch a newer one"
            yield Alarm("revocation", True, text, required)
        elif not crl.current(now_us + ahead_us):
            text = f"the list of {crl.issuer} expires on {iso(crl.next_update_us)}, then {then}: why is it not renewed?"
            yield Alarm("revocation", False, text)


def liste_alarms(espace: EspaceConfiance) -> Iterator[Alarm]:
    """The white list: none, too old to exchange anything, or not confirmed for too long."""
    how = f"see why {espace.url} gives no list" if espace.url else "bring the current one by liste-blanche import"
    if espace.held is None:
        yield Alarm("white list", True, f"{espace.fault}: nothing is exchanged; {how}", stops=True)
    elif espace.stopped:
        yield Alarm("white list", True, f"{_unconfirmed(espace)}: nothing is exchanged; {how}", stops=True)
    elif espace.alarming:
        yield Alarm("white list", False, f"{_unconfirmed(espace)}: {how}")


def _unconfirmed(espace: EspaceConfiance) -> str:
    since = f"since {iso(espace.confirmed_us)}" if espace.confirmed_us else "ever"
    return f"not confirmed {since}{f' ({espace.fault})' if espace.fault else ''}"


def iso(moment_us: int) -> str:
    """ISO 8601 UTC, to the second."""
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
