"""A verdict is a value: yes, no for good, or cannot tell now.

What must always hold: a verdict that is not a yes names its `Rule`; its ``reason`` is private, for the log, and never
reaches the peer (the public words are in `replies`). A rule's identifier is stable: the journal and the metrics keep
it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Rule(StrEnum):
    """Every cause for which something is refused or put off, by the rules or by an edge."""

    # the session
    TLS_REQUIRED = "session.tls_required"
    AUTH_REQUIRED = "auth.required"
    AUTH_REFUSED = "auth.refused"
    AUTH_MAILBOX = "auth.mailbox"
    AUTH_UNAVAILABLE = "auth.unavailable"
    AUTH_TOO_MANY = "auth.too_many"
    SESSION_CLOSED = "session.account_closed"
    SESSION_TIMEOUT = "session.timeout"
    SESSION_TOO_MANY = "session.too_many"
    SESSION_TOO_MANY_ERRORS = "session.too_many_errors"
    SESSION_TOO_MANY_COMMANDS = "session.too_many_commands"
    SERVER_STOPPING = "session.stopping"
    # the commands
    COMMAND_MALFORMED = "command.malformed"
    COMMAND_UNKNOWN = "command.unknown"
    COMMAND_ARGUMENT = "command.argument"
    COMMAND_PARAMETER = "command.parameter"
    COMMAND_ORDER = "command.order"
    # MAIL
    SENDER_MALFORMED = "sender.malformed"
    SENDER_NOT_OWNER = "sender.not_owner"
    SENDER_HEADER_FROM = "sender.header_from"
    ESPACE_CONFIANCE_SENDER = "espace_confiance.sender"
    ESPACE_CONFIANCE_NULL_SENDER = "espace_confiance.null_sender"
    ESPACE_CONFIANCE_RECIPIENT = "espace_confiance.recipient"
    ESPACE_CONFIANCE_UNAVAILABLE = "espace_confiance.unavailable"
    # RCPT
    RECIPIENT_MALFORMED = "recipient.malformed"
    RECIPIENT_NOT_LOCAL = "recipient.not_local"
    RECIPIENT_UNKNOWN = "recipient.unknown"
    RECIPIENT_PATIENT_UNKNOWN = "recipient.patient_unknown"
    RECIPIENT_INS = "recipient.ins"
    RECIPIENT_INS_KEY = "recipient.ins_key"
    RECIPIENT_PATIENT_OPPOSED = "recipient.patient_opposed"
    RECIPIENT_PATIENT_CLOSED = "recipient.patient_closed"
    RECIPIENT_PATIENT_DECEASED = "recipient.patient_deceased"
    RECIPIENT_CLOSED = "recipient.closed"
    RECIPIENT_SUSPENDED = "recipient.suspended"
    RECIPIENT_FULL = "recipient.full"
    RECIPIENTS_TOO_MANY = "recipients.too_many"
    RECIPIENTS_TOO_MANY_MESSAGE = "recipients.too_many_message"
    RECIPIENTS_NONE = "recipients.none"
    RECIPIENTS_SPLIT = "recipients.split"
    RECIPIENTS_ONE_USAGER = "recipients.one_usager"
    EXCHANGE_NOT_OPENED = "exchange.not_opened"
    EXCHANGE_ENDED = "exchange.ended"
    EXCHANGE_THREAD_ENDED = "exchange.thread_ended"
    EXCHANGE_PATIENT_TO_PATIENT = "exchange.patient_to_patient"
    # DATA
    MESSAGE_TOO_LARGE = "message.too_large"
    MESSAGE_CONTENT = "message.content"
    MESSAGE_LOOP = "message.loop"
    MESSAGE_VIRUS = "message.virus"
    REPORT_WITHOUT_MESSAGE = "signalement.without_message"
    DOCUMENT_OTHER_PATIENT = "document.other_patient"
    DOCUMENT_UNREADABLE = "document.unreadable"
    DKIM_FAILED = "message.dkim"
    DKIM_UNKNOWN = "message.dkim_unknown"
    ANTIVIRUS_UNAVAILABLE = "antivirus.unavailable"
    # what lasts
    STORE_CONTENTS = "store.contents"
    STORE_DATABASE = "store.database"
    INTERNAL_FAULT = "internal.fault"


@dataclass(frozen=True, slots=True)
class Accept:
    """Yes."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """No, and asking again will not help."""

    rule: Rule
    reason: str = ""
    """Private, for the log."""
    named: str = ""
    """Public: what the answer is about, printable ASCII. Never for the log: the name of a document may say whose it
    is."""


@dataclass(frozen=True, slots=True)
class Defer:
    """Cannot tell, or cannot do it, now: the peer should come back."""

    rule: Rule
    reason: str = ""
    """Private, for the log."""


Verdict = Accept | Refuse | Defer

ACCEPT: Final = Accept()
