"""Passwords: argon2 once, then remembered under the hash that is in force."""

import pytest

from mssante.services.passwords import PasswordCost, Passwords
from tests.mssante.services.conftest import CHEAP


class Counted(Passwords):
    """Counts how often argon2 was asked."""

    asked = 0

    def _verify(self, password_hash: str, password: str) -> bool:
        self.asked += 1
        return super()._verify(password_hash, password)


def test_the_cost_is_in_the_hash() -> None:
    assert "$argon2id$v=19$m=16384,t=3,p=2$" in Passwords(PasswordCost(16384, 3, 2)).hash("x")


async def test_a_verified_sign_in_is_remembered_for_its_time_and_for_that_hash_only() -> None:
    passwords = Counted(CHEAP, remember_us=1_000)
    stored = passwords.hash("secret")
    assert await passwords.verify((stored,), "a", "secret", 0)
    assert await passwords.verify((stored,), "a", "secret", 999)
    assert passwords.asked == 1
    assert await passwords.verify((stored,), "a", "secret", 1_001)
    assert passwords.asked == 2
    assert not await passwords.verify((passwords.hash("other"),), "a", "secret", 1_002)
    assert not await passwords.verify((), "a", "secret", 1_002)
    assert passwords.asked == 4


async def test_another_login_with_the_same_password_is_verified_on_its_own() -> None:
    passwords = Counted(CHEAP)
    stored = passwords.hash("secret")
    await passwords.verify((stored,), "a", "secret", 0)
    await passwords.verify((stored,), "b", "secret", 0)
    assert passwords.asked == 2


async def test_a_wrong_password_is_never_remembered() -> None:
    passwords = Counted(CHEAP)
    stored = passwords.hash("secret")
    for _ in range(2):
        assert not await passwords.verify((stored,), "a", "wrong", 0)
    assert passwords.asked == 2


@pytest.mark.parametrize("damaged", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$AAAA"])
async def test_a_damaged_hash_opens_to_nobody(damaged: str) -> None:
    assert not await Passwords(CHEAP).verify((damaged,), "a", "", 0)


async def test_a_password_that_is_not_utf8_is_only_wrong() -> None:
    passwords = Passwords(CHEAP)
    assert not await passwords.verify((passwords.hash("x"),), "a", b"\xff".decode("utf-8", "surrogateescape"), 0)
