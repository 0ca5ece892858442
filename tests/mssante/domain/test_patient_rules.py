"""The rules for citizens: the guard for those of other operators, and why one has no mailbox."""

from dataclasses import replace

import pytest

from mssante.domain.bal import BalState
from mssante.domain.exchange import Guard
from mssante.domain.patient import Standing
from mssante.domain.rules import decide_rcpt
from mssante.domain.verdict import Rule
from tests.mssante.domain.test_rules import AS_INES, AS_JEANNE, CHARTER, INES, JEANNE, LISTED, OMAR, here, meant, said


@pytest.mark.parametrize(
    ("guard", "hosted", "rule"),
    [
        (Guard.STRICT, "", Rule.EXCHANGE_NOT_OPENED),
        (Guard.SOFT, "", None),
        (Guard.OFF, "", None),
        # Our own citizens' domain is not another operator's, whichever door its mail comes through.
        (Guard.SOFT, OMAR.domain, Rule.EXCHANGE_NOT_OPENED),
        (Guard.OFF, OMAR.domain, Rule.EXCHANGE_NOT_OPENED),
    ],
)
def test_the_guard_for_the_citizens_of_others(guard: Guard, hosted: str, rule: Rule | None) -> None:
    charter = replace(CHARTER, exchange_guard=guard, hosted_patient_domain=hosted)
    assert meant(decide_rcpt(said(LISTED, OMAR, charter=charter), here(JEANNE))) == rule
    assert meant(decide_rcpt(said(LISTED, OMAR, charter=charter), here(INES))) is Rule.EXCHANGE_PATIENT_TO_PATIENT
    assert meant(decide_rcpt(said(AS_INES, INES, charter=charter), here(JEANNE))) is Rule.EXCHANGE_NOT_OPENED


@pytest.mark.parametrize(
    ("standing", "state", "rule"),
    [
        (Standing.OPPOSED, BalState.DRAFT, Rule.RECIPIENT_PATIENT_OPPOSED),
        (Standing.OPPOSED, BalState.CLOSING, Rule.RECIPIENT_PATIENT_OPPOSED),
        (Standing.CLOSED, BalState.CLOSED, Rule.RECIPIENT_PATIENT_CLOSED),
        (Standing.DECEASED, BalState.CLOSED, Rule.RECIPIENT_PATIENT_DECEASED),
        (Standing.OPEN, BalState.CLOSED, Rule.RECIPIENT_CLOSED),
        (Standing.OPEN, None, Rule.RECIPIENT_PATIENT_UNKNOWN),
        (Standing.OPEN, BalState.ACTIVE, None),
    ],
)
def test_each_cause_of_a_citizen_without_mailbox(standing: Standing, state: BalState | None, rule: Rule | None) -> None:
    assert meant(decide_rcpt(said(AS_JEANNE, JEANNE), replace(here(INES, state), standing=standing))) == rule
