"""What an operator may choose for the two SMTP doors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SmtpInSettings:
    """Ports: None switches a door off, 0 takes any free one. Sizes in octets, times in seconds."""

    hostname: str
    """The name said in the greeting and to EHLO."""
    host: str = "127.0.0.1"
    mx: int | None = None
    """STARTTLS with client certificates, for other operators."""
    submission: int | None = None
    """STARTTLS, for mail clients."""
    submissions: int | None = None
    """Implicit TLS, for mail clients."""
    reuse_port: bool = False
    """Several processes serve the same ports."""
    postmaster: str = ""
    """The address that ``RCPT TO:<postmaster>`` alone means (RFC 5321 §4.5.1)."""

    max_size: int = 36_700_160
    max_line: int = 1000
    """Of a message's line, CRLF included (RFC 5321 §4.5.3.1.6)."""
    connections: int = 2000
    """Each port apart."""
    connections_per_ip: int = 500
    """Each port apart."""
    max_errors: int = 20
    """Commands that are unknown, malformed or out of order, in one session."""
    max_idle_commands: int = 200
    """Commands that carry no mail (NOOP, RSET, EHLO, HELO, VRFY, HELP), between two messages."""
    max_unknown_recipients: int = 100
    """Recipients refused as unknown in one session: who goes on is looking for addresses."""
    max_failed_auth: int = 5
    """Sign-ins refused in one session."""

    handshake_timeout_s: float = 30
    command_timeout_s: float = 300
    """RFC 5321 §4.5.3.2.7."""
    data_timeout_s: float = 180
    """For each further piece of a message (RFC 5321 §4.5.3.2.5)."""
    data_total_s: float = 3600
    """For a whole message."""
    data_grace_s: float = 60
    """From the start of a message on, before `min_rate` counts."""
    min_rate: int = 512
    """Octets a second of a message, on the average since its start."""
    delivery_timeout_s: float = 600
    """For our own work on one command; the peer waits as long for the last answer (RFC 5321 §4.5.3.2.6)."""
