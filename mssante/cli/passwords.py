"""Passwords that are set by command: strong enough, then hashed.

What must always hold: nothing is opened or changed for a password that is refused; none is shown.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mssante.cli.frame import Failure

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.domain.address import Address


def fault_of(settings: "Settings", address: "Address", text: str) -> str | None:
    """Why the password is too weak for the mailbox, or None; "" is no password."""
    from mssante.services.passwords import weakness

    fault = weakness(text, min_length=settings.passwords.min_length, address=str(address)) if text else None
    return f"password: {fault}" if fault else None


def hash_of(settings: "Settings", address: "Address", text: str) -> str | None:
    """The argon2 hash of one password, None for "". Raises Failure when it is too weak."""
    if fault := fault_of(settings, address, text):
        raise Failure(fault)
    return hashes(settings, [text])[0]


def hashes(settings: "Settings", passwords: Sequence[str]) -> list[str | None]:
    """The argon2 hash of each password, None for "". Two at a time, as argon2 lets the other cores go."""
    if not any(passwords):
        return [None] * len(passwords)
    from concurrent.futures import ThreadPoolExecutor

    from mssante.services.passwords import PasswordCost, Passwords

    hasher = Passwords(PasswordCost(settings.passwords.memory_kib, settings.passwords.passes))
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda text: hasher.hash(text) if text else None, passwords))
