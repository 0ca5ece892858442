"""The operator's master key and all that is derived from it.

Always true here: the master key itself encrypts nothing, each use has its own HKDF key; what leaves this file is either
encrypted, a keyed hash, or the address of a professional. A patient's address holds the INS, so it is never written in
clear (`locator` to find it, `seal` to keep it, `trace_name` to speak of it in logs and journal).
"""

import hmac
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mssante.store.errors import ContentError, StoreError

KEY_BYTES = 32
_NONCE_BYTES = 12
_FACTS_KEYS = 128
_PATIENT = "ins:"
CORRESPONDENT = 8
"""Octets that stand for a recipient: two of a million are the same once in 40 million mailboxes."""


class Keys:
    """The derived keys of one store. Safe to share between threads.

    Sealing and key wrapping use AES-256-GCM-SIV (RFC 8452), whose random nonces stay safe far beyond the 2^32 messages
    that AES-GCM allows one key. The facts of messages, opened by the 100,000, use AES-256-GCM, three times as fast,
    under as many keys as stay below that for 2^39 messages.
    """

    def __init__(self, master_key: bytes, patient_domains: frozenset[str] = frozenset()) -> None:
        if len(master_key) != KEY_BYTES:
            raise StoreError(f"the master key must have {KEY_BYTES} bytes, this one has {len(master_key)}")
        self._wrapper = AESGCMSIV(_derive(master_key, b"content keys"))
        self._sealer = AESGCMSIV(_derive(master_key, b"sealed values"))
        keys = _derive(master_key, b"facts", KEY_BYTES * _FACTS_KEYS)
        self._facts = [AESGCM(keys[start : start + KEY_BYTES]) for start in range(0, len(keys), KEY_BYTES)]
        self._locator_key = _derive(master_key, b"locators")
        self._journal_key = _derive(master_key, b"journal head")
        self._mark_key = _derive(master_key, b"password marks")
        self.patient_domains = frozenset(domain.lower() for domain in patient_domains)
        self.correspondent = lru_cache(maxsize=16_384)(self._correspondent)
        """What stands for a recipient where it is only counted."""
        self._patient_address = _addresses_in(self.patient_domains) if patient_domains else None

    def wrap(self, data_key: bytes, content_id: bytes) -> bytes:
        """The data key of a content as its row keeps it, bound to the content's id."""
        return self._wrapper.encrypt(content_id[:_NONCE_BYTES], data_key, content_id)

    def unwrap(self, wrapped_key: bytes, content_id: bytes) -> bytes:
        try:
            return self._wrapper.decrypt(content_id[:_NONCE_BYTES], wrapped_key, content_id)
        except InvalidTag:
            raise ContentError("the key of a message does not open: its row was altered") from None

    def seal(self, plain: bytes, context: bytes = b"") -> bytes:
        """Encrypts a value for a row; `context` (for example a content id) must be given again to `unseal`."""
        return seal_under(self._sealer, plain, context)

    def unseal(self, sealed: bytes, context: bytes = b"") -> bytes:
        return open_under(self._sealer, sealed, context)

    def seal_facts(self, plain: bytes, content_id: bytes) -> bytes:
        """`seal` for what is kept of a message beside its content."""
        return seal_under(self._facts[content_id[0] % _FACTS_KEYS], plain, content_id)

    def unseal_facts(self, sealed: bytes, content_id: bytes) -> bytes:
        cipher = self._facts[content_id[0] % _FACTS_KEYS]
        try:  # `open_under` would cost a list of 100,000 a call each
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], content_id)
        except (InvalidTag, ValueError):
            return self.unseal(sealed, content_id)  # as facts were sealed before they had keys of their own

    def is_patient(self, address: str) -> bool:
        return address.rpartition("@")[2].lower() in self.patient_domains

    def locator(self, address: str) -> str:
        """What stands for the address where rows are looked up: itself, or a keyed hash for a patient."""
        if not self.is_patient(address):
            return address
        return _PATIENT + hmac.digest(self._locator_key, address.lower().encode(), "sha256")[:16].hex()

    def mark(self, bal_id: int, password: str) -> str:
        """16 bits by which the password of a device is told from those of others, so that one hash is tried, not all;
        too few to tell it by. Of the bal, whose address may change."""
        text = f"{bal_id}\0{password}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._mark_key, text, "sha256")[:2].hex()

    def trace_name(self, text: str) -> str:
        """What logs and journal may show of an address, or of a text with addresses in it: those of patients are
        replaced by the first 12 digits of their hash."""
        if self._patient_address is None or "@" not in text:
            return text
        return self._patient_address.sub(lambda found: self.locator(found[0])[: len(_PATIENT) + 12], text)

    def traceable(self, detail: Mapping[str, object]) -> dict[str, object]:
        """The mapping with every patient address in it, also inside lists, replaced by its trace name."""
        return {name: self._traceable_value(value) for name, value in detail.items()}

    def _traceable_value(self, value: object) -> object:
        if isinstance(value, str):
            return self.trace_name(value)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._traceable_value(item) for item in value]
        return value

    def digest(self, *parts: bytes) -> bytes:
        """16 octets that stand for the parts, and tell nothing of them without the master key."""
        lengths = b"".join([len(part).to_bytes(4, "big") for part in parts])
        return hmac.digest(self._locator_key, b"\0" + lengths + b"".join(parts), "sha256")[:16]

    def _correspondent(self, address: str) -> bytes:
        return self.digest(b"recipient", address.encode())[:CORRESPONDENT]

    def journal_mac(self, head: bytes) -> bytes:
        """Authenticates the head of the journal, so that nobody without the master key can write the chain anew."""
        return hmac.digest(self._journal_key, head, "sha256")


def seal_under(cipher: AESGCM | AESGCMSIV, plain: bytes, context: bytes) -> bytes:
    """Encrypts under a random nonce, which stands before the result."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, context)


def open_under(cipher: AESGCM | AESGCMSIV, sealed: bytes, context: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], memoryview(sealed)[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        raise ContentError("a sealed value does not open: the row was altered or the master key is another") from None


def _addresses_in(domains: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"[^\s<>,;:()\"']+@(?:{'|'.join(map(re.escape, domains))})(?![\w-]|\.\w)", re.IGNORECASE)


def _derive(master_key: bytes, use: bytes, length: int = KEY_BYTES) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"mssante 1 " + use).derive(master_key)


def create_master_key(path: Path) -> bytes:
    """Writes a new master key (64 hexadecimal digits, mode 0600) and never overwrites one."""
    key = os.urandom(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise StoreError(f"{path} exists already: a store whose master key is lost cannot be read again") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def read_master_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise StoreError(f"the master key {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise StoreError(f"the master key {path} must be {2 * KEY_BYTES} hexadecimal digits") from None
    if len(key) != KEY_BYTES:
        raise StoreError(f"the master key {path} must be {2 * KEY_BYTES} hexadecimal digits")
    return key
