"""What a peer's answer, or the lack of one, means for a recipient.

What always holds here: only a peer's own 2xx after the whole content means sent; only a 5xx answer, or a rule of ours
that no waiting can change, means failed; everything else is temporary, and its `cause` has a name.
"""

from mssante.services.deliver import Attempt, Result
from smtp_out.dialogue import Fault, Lost
from smtp_out.replies import Reply

TRUST_FAULTS = frozenset(
    {
        Fault.NO_STARTTLS,
        Fault.STARTTLS_REFUSED,
        Fault.CLEAR_TEXT_AFTER_STARTTLS,
        Fault.PEER_CERTIFICATE,
        Fault.CERTIFICATE_REFUSED,
        Fault.NOT_LISTED,
    }
)
"""Faults that a lagging white list or CRL may explain: waited for, but not as long as for a peer that is down."""

_STATUS = {
    Fault.UNREACHABLE: "4.4.1",
    Fault.TIMEOUT: "4.4.2",
    Fault.CLOSED: "4.4.2",
    Fault.SHUT_DOWN: "4.4.2",
    Fault.CLOSED_AFTER_HANDSHAKE: "4.4.2",
    Fault.GREETING_REFUSED: "4.3.2",
    Fault.EHLO_REFUSED: "4.3.2",
    Fault.NO_STARTTLS: "4.7.10",
    Fault.STARTTLS_REFUSED: "4.7.5",
    Fault.TLS_FAILED: "4.7.5",
    Fault.PEER_CERTIFICATE: "4.7.5",
    Fault.CERTIFICATE_REFUSED: "4.7.5",
    Fault.NOT_LISTED: "4.7.1",
    Fault.CLEAR_TEXT_AFTER_STARTTLS: "4.7.0",
    Fault.BAD_REPLY: "4.5.0",
    Fault.REPLY_TOO_LONG: "4.5.0",
    Fault.UNEXPECTED_REPLY: "4.5.0",
}
"""Enhanced status codes (RFC 3463 and its registry, RFC 5248) where the peer gave none."""


def from_reply(reply: Reply, *, peer: str, dsn: bool) -> Attempt:
    """The outcome of a recipient that got this answer; `dsn`: the peer takes the duty of notices over (RFC 3461)."""
    said = "" if reply.local else str(reply)
    if reply.positive:
        return Attempt(Result.SENT, "accepted", reply.enhanced, str(reply), said, peer, relayed=not dsn)
    result = Result.PERMANENT if reply.permanent else Result.TEMPORARY
    return Attempt(result, "refused" if said else "not_asked", reply.enhanced, str(reply), said, peer)


def from_no_route(reply: Reply) -> Attempt:
    """DNS or the routes gave nobody to ask."""
    return Attempt(Result.PERMANENT if reply.permanent else Result.TEMPORARY, "no_route", reply.enhanced, str(reply))


def from_lost(lost: Lost, *, peer: str) -> Attempt:
    """The outcome of a recipient whose answer never came."""
    status, said = _STATUS[lost.fault], ""
    if lost.reply is not None:
        said = str(lost.reply)
        if lost.reply.temporary:
            status = lost.reply.enhanced
    return Attempt(Result.TEMPORARY, lost.fault.value, status, str(lost), said, peer, trust=lost.fault in TRUST_FAULTS)


def unlisted() -> Attempt:
    """The domain is not, or no longer, in the white list: for good (ANS: never deliver outside the trust space)."""
    return Attempt(Result.PERMANENT, "unlisted", "5.7.1", "the domain is not in the white list")


def no_list() -> Attempt:
    """No white list is in force: nothing leaves, and nobody is blamed."""
    return Attempt(Result.TEMPORARY, "no_liste_blanche", "4.7.0", "no white list in force")


def unreadable() -> Attempt:
    """Our own copy of the message could not be read."""
    return Attempt(Result.TEMPORARY, "content_unreadable", "4.3.0", "the content could not be read")
