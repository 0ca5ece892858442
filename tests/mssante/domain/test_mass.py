"""The limits on what one sender sends."""

import pytest

from mssante.domain.mass import Limits

LIMITS = Limits(same_text=40, same_text_app=1000, novel=100, novel_app=5000, novel_factor=5)


def test_applicative_mailboxes_have_their_own() -> None:
    assert (LIMITS.most(bulk=False), LIMITS.most(bulk=True)) == (40, 1000)
    assert (LIMITS.least_novel(bulk=False), LIMITS.least_novel(bulk=True)) == (100, 5000)


@pytest.mark.parametrize(
    ("novel", "past_novel", "past_days", "bulk", "mass"),
    [
        (99, 0, 0, False, False),  # too few to look
        (100, 0, 0, False, True),  # a mailbox without a past
        (100, 40, 2, False, False),  # 20 a day: five times that is usual
        (101, 40, 2, False, True),
        (300, 2400, 30, False, False),  # a laboratory
        (401, 2400, 30, False, True),
        (4999, 0, 0, True, False),
        (5000, 0, 0, True, True),
    ],
)
def test_mass_mail(novel: int, past_novel: int, past_days: int, bulk: bool, mass: bool) -> None:
    assert LIMITS.is_mass(novel, past_novel, past_days, bulk=bulk) is mass
