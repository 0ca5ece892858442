"""The records that an operator publishes so that mail arrives and clients set themselves up.

Always true here: one line a record, as a zone file has it; ports are those of the configuration, and a door that is
shut is said to be so (target ".", RFC 6186 §3.4).
"""

from collections.abc import Iterator

from mssante.settings import Settings


def dns_records(settings: Settings) -> Iterator[str]:
    """MX (RFC 5321 §5.1), SRV for clients (RFC 6186 §3, RFC 8314 §5.1), names for autoconfig and Autodiscover."""
    listen, host = settings.listen, settings.operator.hostname
    doors = {
        "_imaps": listen.imaps,
        "_imap": listen.imap,
        "_submissions": listen.submissions,
        "_submission": listen.submission,
    }
    for domain in settings.own_domains:
        if listen.mx:
            yield f"{domain}. MX 10 {host}."
        for number, (service, port) in enumerate(doors.items()):
            # Implicit TLS is to be preferred (RFC 8314 §3): its priority is the lower number.
            target = f"{number % 2 * 10} 1 {port} {host}." if port else "0 0 0 ."
            yield f"{service}._tcp.{domain}. SRV {target}"
        if listen.portal:
            yield f"_autodiscover._tcp.{domain}. SRV 0 1 {listen.portal} {host}."
            yield from (f"{name}.{domain}. CNAME {host}." for name in ("autoconfig", "autodiscover"))
