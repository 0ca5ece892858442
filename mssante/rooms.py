"""What the settings say to each room, in that room's own terms.

Always true here: nothing is opened or read; a setting that a room needs is named here once.
"""

from __future__ import annotations

from imap.settings import ImapSettings
from mssante.config import Settings
from mssante.domain.exchange import Ending, Guard
from mssante.domain.mass import Limits
from mssante.domain.transaction import Charter
from mssante.services.antivirus import Antivirus
from mssante.services.patient_notices import Wording
from portail.autoconfig import MailServices, Service
from smtp_in.settings import SmtpInSettings


def charter(settings: Settings) -> Charter:
    return Charter(
        frozenset(settings.operator.patient_domains),
        max_recipients=settings.rules.max_recipients,
        fin_exact=settings.rules.fin_exact,
        suspended_receives=settings.rules.suspended_keeps_mail,
        header_from_strict=settings.rules.header_from == "strict",
        max_received=settings.rules.max_received,
        one_usager=settings.rules.patient_documents == "refuse",
        fin_header=Ending(settings.rules.fin_header),
        exchange_guard=Guard(settings.rules.exchange_guard),
        hosted_patient_domain=settings.operator.patient_domain,
    )


def mass_limits(settings: Settings) -> Limits:
    said = settings.regulateur
    return Limits(
        same_text=settings.rules.max_recipients,
        same_text_app=said.same_text_app,
        same_text_hours=said.same_text_hours,
        novel=said.new_recipients,
        novel_app=said.new_recipients_app,
        novel_factor=said.new_recipients_factor,
        past_days=said.past_days,
    )


def antivirus(settings: Settings) -> Antivirus | None:
    antivirus = settings.antivirus
    if not antivirus.socket:
        return None
    return Antivirus(
        antivirus.socket,
        timeout_s=antivirus.timeout_s,
        at_once=antivirus.scans,
        accept_unscanned=antivirus.on_unavailable == "accept",
    )


def smtp_settings(settings: Settings) -> SmtpInSettings:
    smtp, listen = settings.smtp, settings.listen
    return SmtpInSettings(
        settings.operator.hostname,
        host=listen.host,
        mx=listen.mx or None,
        submission=listen.submission or None,
        submissions=listen.submissions or None,
        postmaster=settings.postmaster,
        max_size=smtp.max_size,
        max_line=smtp.max_line,
        connections=smtp.connections,
        connections_per_ip=smtp.connections_per_ip,
        command_timeout_s=smtp.command_timeout_s,
        data_timeout_s=smtp.data_timeout_s,
        data_total_s=smtp.data_total_s,
        min_rate=smtp.min_rate,
        max_idle_commands=smtp.max_idle_commands,
    )


def imap_settings(settings: Settings) -> ImapSettings:
    imap = settings.imap
    return ImapSettings(
        message_octets=imap.max_append,
        line_octets=imap.max_line,
        command_octets=imap.max_command,
        failed_logins=imap.failed_logins,
        bad_commands=imap.bad_commands,
        idle_seconds=imap.idle_timeout_s,
        login_seconds=imap.login_timeout_s,
        connections=imap.connections,
        connections_per_ip=imap.connections_per_ip,
        notify_mailboxes=imap.notify_mailboxes,
    )


def mail_services(settings: Settings) -> MailServices:
    """What mail clients are told: the doors of this configuration, implicit TLS first (RFC 8314 §3)."""
    listen = settings.listen
    doors = [
        Service("imap", listen.imaps, True),
        Service("imap", listen.imap, False),
        Service("smtp", listen.submissions, True),
        Service("smtp", listen.submission, False),
    ]
    open_doors = tuple(door for door in doors if door.port)
    return MailServices(settings.operator.name, settings.operator.hostname, settings.own_domains, open_doors)


def wording(settings: Settings) -> Wording:
    notices = settings.patient_notices
    return Wording(settings.operator.name, notices.sender, settings.operator.hostname, notices.link)


def notices_every_us(settings: Settings) -> int:
    """0: citizens are not told."""
    return settings.patient_notices.every_minutes * 60_000_000 if settings.patient_notices.host else 0
