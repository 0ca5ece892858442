"""The words: one reply for each rule, the codes that the operator publishes, lines that a peer can read."""

import pytest

from mssante.domain.replies import OK, REPLIES, reply_for
from mssante.domain.verdict import ACCEPT, Defer, Refuse, Rule

# The published table of SMTP answers, row by row.
PUBLISHED = [
    (Rule.TLS_REQUIRED, "530 5.7.0"),
    (Rule.ESPACE_CONFIANCE_SENDER, "550 5.7.1"),
    (Rule.ESPACE_CONFIANCE_NULL_SENDER, "550 5.7.1"),
    (Rule.AUTH_REQUIRED, "530 5.7.0"),
    (Rule.SENDER_NOT_OWNER, "550 5.7.1"),
    (Rule.SENDER_HEADER_FROM, "550 5.7.1"),
    (Rule.ESPACE_CONFIANCE_RECIPIENT, "550 5.7.1"),
    (Rule.RECIPIENT_NOT_LOCAL, "550 5.7.1"),
    (Rule.RECIPIENT_UNKNOWN, "550 5.1.1"),
    (Rule.RECIPIENT_PATIENT_UNKNOWN, "550 5.1.1"),
    (Rule.RECIPIENT_INS, "550 5.1.3"),
    (Rule.RECIPIENT_CLOSED, "550 5.2.1"),
    (Rule.RECIPIENT_FULL, "452 4.2.2"),
    (Rule.RECIPIENTS_TOO_MANY, "550 5.5.3"),
    (Rule.RECIPIENTS_TOO_MANY_MESSAGE, "554 5.5.3"),
    (Rule.EXCHANGE_NOT_OPENED, "550 5.7.1"),
    (Rule.EXCHANGE_ENDED, "550 5.7.1"),
    (Rule.EXCHANGE_PATIENT_TO_PATIENT, "550 5.7.1"),
    (Rule.MESSAGE_TOO_LARGE, "552 5.3.4"),
    (Rule.MESSAGE_CONTENT, "550 5.6.0"),
    (Rule.COMMAND_MALFORMED, "500 5.5.2"),
    (Rule.AUTH_REFUSED, "535 5.7.8"),
    (Rule.SESSION_CLOSED, "421 4.7.0"),
    (Rule.STORE_CONTENTS, "452 4.3.1"),
    (Rule.STORE_DATABASE, "451 4.3.0"),
    (Rule.SESSION_TIMEOUT, "421 4.4.2"),
    (Rule.SESSION_TOO_MANY, "421 4.7.0"),
    (Rule.ESPACE_CONFIANCE_UNAVAILABLE, "451 4.7.0"),
    (Rule.DKIM_FAILED, "550 5.7.20"),
]


@pytest.mark.parametrize(("rule", "codes"), PUBLISHED)
def test_published_codes(rule: Rule, codes: str) -> None:
    assert str(REPLIES[rule]).startswith(codes + " ")


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_a_line_that_a_peer_can_read(rule: Rule) -> None:
    reply = REPLIES[rule]
    assert 400 <= reply.code < 600
    assert reply.enhanced.split(".")[0] == str(reply.code)[0]
    assert reply.text.isascii()
    assert reply.text.isprintable()
    assert len(str(reply)) <= 200  # one line of RFC 5321 §4.5.3.1.5, and of a mail client's window


def test_the_private_reason_stays_private() -> None:
    reply = reply_for(Refuse(Rule.RECIPIENT_UNKNOWN, "no row for 279035121518989"))
    assert reply is REPLIES[Rule.RECIPIENT_UNKNOWN]
    assert reply_for(Defer(Rule.RECIPIENT_FULL, "quota")) is REPLIES[Rule.RECIPIENT_FULL]
    assert reply_for(ACCEPT) is OK
