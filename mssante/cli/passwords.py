"""Passwords that are set by command: strong enough, then hashed; what is opened with one.

What must always hold: nothing is opened or changed for a password that is refused; none is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from mssante.cli.frame import Failure

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.domain.address import Address
    from mssante.store.accounts import NewBal
    from mssante.store.patients import NewPatient


New = TypeVar("New", bound="NewBal | NewPatient")


@dataclass(frozen=True, slots=True)
class Entry(Generic[New]):
    """What is to be opened at an address, and its password, still in clear; "" for none."""

    address: "Address"
    new: New
    password: str = field(repr=False)


def with_hash(new: New, password_hash: str | None) -> New:
    """The same with its password, as the store wants it."""
    import msgspec

    return msgspec.structs.replace(new, password_hash=password_hash)


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
