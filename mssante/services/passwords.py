"""Passwords: how strong they must be, argon2id in worker threads, verified sign-ins remembered for minutes.

Always true here: the event loop never computes an argon2 hash; a clear password is kept nowhere (what is remembered is
a keyed hash under a key that dies with the process); what is remembered holds for the very hash that the store has at
that moment, so a changed or revoked password is forgotten at once, in every process.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

REMEMBERED_MAX = 50_000


def weakness(password: str, *, min_length: int, address: str) -> str | None:
    """Why the password is too weak for the mailbox, or None; ``min_length`` 0: none is. Rules about classes of
    characters are not among them: they make passwords that people write down (NIST SP 800-63B §5.1.1.2)."""
    if min_length == 0:
        return None
    local = address.partition("@")[0].casefold()
    if len(password) < min_length:
        return f"is too short: {min_length} characters at least"
    if len(set(password)) < min(min_length, 4):
        return "is the same few characters again and again"
    if len(local) >= 4 and local in password.casefold():
        return "holds the mailbox's own name"
    return None


@dataclass(frozen=True, slots=True)
class PasswordCost:
    """Argon2id cost (RFC 9106 §4): memory in KiB, passes, lanes. The default is an equal of OWASP's list
    that takes little memory: sign-ins must not crowd out messages."""

    memory_kib: int = 9_216
    passes: int = 4
    lanes: int = 1


class Passwords:
    """Hashes and checks passwords. ``remember_us`` is how long a verified sign-in costs no argon2 (0: always
    verify)."""

    def __init__(self, cost: PasswordCost | None = None, *, remember_us: int = 300_000_000, threads: int = 2) -> None:
        cost = cost or PasswordCost()
        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes)
        # Two at once: each takes its own memory, and a flood of wrong passwords must not starve the loop of CPU.
        self.threads = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._remember_us = remember_us
        self._process_key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._decoy = self._hasher.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """The argon2id hash to store, in PHC string form. Takes tens of milliseconds: call it from a thread."""
        return self._hasher.hash(password)

    def knows(self, hashes: Sequence[str], login: str, password: str) -> bool:
        """Whether this password was verified here before, against one of ``hashes``, however long ago."""
        known = self._remembered.get(self._ticket(login, password))
        return known is not None and known[0] in hashes

    async def verify(self, hashes: Sequence[str], login: str, password: str, now_us: int) -> str | None:
        """That of ``hashes`` that ``password`` is behind. None at all (no such account, no password set) cost the same
        time as one, so that answers do not tell which addresses exist."""
        ticket = self._ticket(login, password)
        known, until_us = self._remembered.get(ticket, ("", 0))
        if known in hashes and until_us > now_us:
            return known
        loop = asyncio.get_running_loop()
        for one in hashes or (self._decoy,):
            if await loop.run_in_executor(self._threads, self._verify, one, password) and hashes:
                if self._remember_us:
                    self._remembered[ticket] = (one, now_us + self._remember_us)
                    self._remembered.move_to_end(ticket)
                    while len(self._remembered) > REMEMBERED_MAX:
                        self._remembered.popitem(last=False)
                return one
        return None

    def _ticket(self, login: str, password: str) -> bytes:
        text = f"{login}\0{password}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._process_key, text, hashlib.sha256)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password.encode("utf-8", "surrogateescape"))
        except (VerificationError, InvalidHashError):
            return False
