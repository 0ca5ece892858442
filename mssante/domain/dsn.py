"""Which outcomes of a recipient deserve a notice to the sender (RFC 3461).

What must always hold: a message with the null sender is never answered by a notice, whatever it asked for
(RFC 5321 §6.1: that would loop); NEVER excludes the rest; a failure is told by default, a success only when asked.
"""

from enum import Enum, Flag, auto


class Notify(Flag):
    """The NOTIFY parameter of RCPT (RFC 3461 §4.1). The empty value is NEVER. The bits are stored."""

    NEVER = 0
    SUCCESS = 1
    FAILURE = 2
    DELAY = 4


class NotifyError(ValueError):
    """Not a NOTIFY value."""


class Outcome(Enum):
    """What became of one recipient."""

    DELIVERED = auto()
    """In the bal, here."""
    HANDED_ON = auto()
    """Taken by a host that does DSN itself, and so took over the duty of notices."""
    RELAYED = auto()
    """Taken by a host that knows no DSN: nobody further on will tell of the success."""
    DELAYED = auto()
    """Not yet, still being tried."""
    FAILED = auto()
    """Given up."""


DEFAULT = Notify.FAILURE | Notify.DELAY
"""Without NOTIFY: failures, and delays (RFC 3461 §4.1 leaves these to us: health mail that waits must be known)."""

_ASKED_BY = {
    Outcome.DELIVERED: Notify.SUCCESS,
    Outcome.RELAYED: Notify.SUCCESS,
    Outcome.HANDED_ON: Notify.NEVER,
    Outcome.DELAYED: Notify.DELAY,
    Outcome.FAILED: Notify.FAILURE,
}


def parse_notify(text: str) -> Notify:
    """``NEVER``, or a comma list of ``SUCCESS``, ``FAILURE``, ``DELAY``, in any case and order, each once
    (RFC 3461 §4.1). Raises `NotifyError`."""
    words = text.upper().split(",")
    if words == ["NEVER"]:
        return Notify.NEVER
    if len(set(words)) != len(words) or not set(words) <= {"SUCCESS", "FAILURE", "DELAY"}:
        raise NotifyError("NOTIFY must be NEVER or a list of SUCCESS, FAILURE, DELAY")
    notify = Notify.NEVER
    for word in words:
        notify |= Notify[word]
    return notify


def format_notify(notify: Notify) -> str:
    """The value to send on to the next host."""
    return ",".join(member.name or "" for member in notify) or "NEVER"


def notice_due(outcome: Outcome, notify: Notify | None, *, null_sender: bool) -> bool:
    """Whether the sender gets a notice of ``outcome`` (RFC 3461 §5.2). ``notify`` None: RCPT had no NOTIFY."""
    return not null_sender and bool(_ASKED_BY[outcome] & (DEFAULT if notify is None else notify))
