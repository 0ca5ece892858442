"""Passwords: argon2id in worker threads, verified sign-ins remembered for minutes.

Always true here: the event loop never computes an argon2 hash; a clear password is kept nowhere (what is remembered
is a keyed hash
under a key that dies with the process); what is remembered is forgotten when :meth:`Passwords.forget` is called or
its time is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

REMEMBERED_MAX = 50_000


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
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._remember_us = remember_us
        self._process_key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._decoy = self._hasher.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """The argon2id hash to store, in PHC string form. Takes tens of milliseconds: call it from a thread."""
        return self._hasher.hash(password)

    async def hash_off_loop(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.hash, password)

    async def verify(self, password_hash: str | None, login: str, password: str, now_us: int) -> bool:
        """Is ``password`` the one behind ``password_hash``? ``None`` (no such account, no password set) costs the
        same time as a wrong one,
        so that answers do not tell which addresses exist."""
        ticket = hmac.digest(
            self._process_key, f"{login}\0{password}".encode("utf-8", "surrogateescape"), hashlib.sha256
        )
        known = self._remembered.get(ticket)
        # The hash itself is compared as well: a changed password in the store makes what is remembered worthless at
        # once.
        if known is not None and password_hash is not None and known[0] == password_hash and known[1] > now_us:
            return True
        loop = asyncio.get_running_loop()
        good = await loop.run_in_executor(self._threads, self._verify, password_hash or self._decoy, password)
        if not good or password_hash is None:
            return False
        if self._remember_us:
            self._remembered[ticket] = (password_hash, now_us + self._remember_us)
            self._remembered.move_to_end(ticket)
            while len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return True

    def forget(self) -> None:
        self._remembered.clear()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password.encode("utf-8", "surrogateescape"))
        except (VerificationError, InvalidHashError):
            return False
