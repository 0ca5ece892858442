"""What an operator may set of the IMAP edge.

Invariant: every limit that a client can meet is here; seconds, octets and counts.
"""

from __future__ import annotations

import msgspec

from imap.framer import BEFORE_LOGIN, Limits


class ImapSettings(msgspec.Struct, frozen=True):
    """`message_octets`: the largest message of APPEND. `command_octets`: the largest command once signed in, its
    literals but messages included. `idle_seconds`: autologout (RFC 9051 §5.4, at least 30 minutes).
    `connections_per_ip` is high: a whole hospital may come from one address."""

    message_octets: int = 36_700_160
    command_octets: int = 1_048_576
    line_octets: int = 262_144
    idle_seconds: float = 1860.0
    login_seconds: float = 60.0
    connections: int = 10_000
    connections_per_ip: int = 6000
    failed_logins: int = 5
    bad_commands: int = 20
    notify_mailboxes: int = 2000
    """Folders that a session may watch with NOTIFY (RFC 5465 §5.8)."""
    window_octets: int = 131_072
    """What may wait for a slow reader, in clear, besides what the system buffers."""

    @property
    def before_login(self) -> Limits:
        return BEFORE_LOGIN

    @property
    def signed_in(self) -> Limits:
        return Limits(self.line_octets, self.command_octets, self.message_octets, 2 * self.message_octets)
