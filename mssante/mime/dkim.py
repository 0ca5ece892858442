"""DKIM (RFC 6376, RFC 8301, RFC 8463): signatures made and verified while the body streams by.

What must always hold:

- This is the only file that imports dkimpy. Of it serve the tag lists, the field validation, the header
  canonicalization and the recommended list of fields. Replaced, because a hostile message makes them quadratic or
  because they are too lenient, are its parsing of messages, body canonicalization, selection of fields, removal of
  b=, key records and RSA.
- Header and body are read in linear time, and the body is never held (`BodyHash`).
- ``l=`` (text may be appended to what was signed), rsa-sha1 and RSA keys below 1024 bits never pass (RFC 8301 §3).
- Reasons are fixed texts: nothing of the message gets into a log or a header through them.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from dkim import DKIM, ValidationError, validate_signature_fields
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError, Relaxed
from dkim.util import InvalidTagValueList, parse_tag_value

from mssante.mime.body_hash import BodyHash

__all__ = [
    "BodyHash",
    "DkimResult",
    "Outcome",
    "SigningKey",
    "Verifier",
    "auth_results",
    "key_record",
    "load_signing_key",
    "publishes",
    "sign",
]

MAX_SIGNATURES: Final = 3
"""Signatures of one message that are looked at, the topmost ones."""
MAX_SIGNATURE_LENGTH: Final = 8_192
"""Octets of a DKIM-Signature value; a 4,096-bit signature takes about 1,500."""
MAX_RECORD_LENGTH: Final = 4_096
MIN_RSA_BITS: Final = 1_024
MAX_RSA_BITS: Final = 4_096
CLOCK_LEEWAY_S: Final = 36_000
"""Seconds that t= may lie in the future and x= in the past."""

SIGNED_FIELDS: Final = frozenset(DKIM.SHOULD) | {
    b"disposition-notification-to",
    b"x-mss-codecda",
    b"x-mss-ins",
    b"x-mss-mes",
    b"x-mss-nil",
}
"""Fields signed when present: those of RFC 6376 §5.4.1, and those that rule the exchange with a patient."""

SigningKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_PREHASHED: Final = utils.Prehashed(SHA256())
_PADDING: Final = PKCS1v15()
_NAME: Final = re.compile(rb"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?").fullmatch
_SPACE: Final = re.compile(rb"\s+")
_NUMBER: Final = re.compile(rb"[0-9]{1,12}").fullmatch


class Outcome(StrEnum):
    """RFC 8601 §2.7.1."""

    PASS = "pass"
    FAIL = "fail"
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class DkimResult:
    """What one signature came to. `domain` and `selector` are empty when the signature does not tell them."""

    domain: str
    selector: str
    outcome: Outcome
    reason: str = ""


_FIELD_END: Final = re.compile(rb"\n(?![ \t])")


class _Fields:
    """The fields of a header block, found by name from the last to the first (RFC 6376 §5.4.2)."""

    def __init__(self, header: bytes) -> None:
        self._fields = _FIELD_END.split(header)
        self.names: list[bytes] = []
        """Lower-case name of each field, in order; empty for what is no field."""
        self._places: dict[bytes, list[int]] = {}
        for index, field in enumerate(self._fields):
            name, colon, _ = field.partition(b":")
            name = name.rstrip().lower() if colon else b""
            self.names.append(name)
            self._places.setdefault(name, []).append(index)

    def field(self, index: int) -> tuple[bytes, bytes]:
        """Name and value of one field as written, the value with its folding and CRLF."""
        name, _, value = self._fields[index].partition(b":")
        return name, value.removesuffix(b"\r") + b"\r\n"

    def named(self, name: bytes) -> list[int]:
        """The places of the fields of that name, in order."""
        return self._places.get(name, [])

    def choose(self, names: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """For each name the last field of it that was not chosen before; names without one choose nothing."""
        taken: dict[bytes, int] = {}
        chosen = []
        for name in names:
            places = self.named(name)
            count = taken.get(name, 0)
            if count < len(places):
                chosen.append(self.field(places[-1 - count]))
            taken[name] = count + 1
        return chosen


def _header_hash(
    fields: _Fields, signed: Iterable[bytes], signature: tuple[bytes, bytes], policy: CanonicalizationPolicy
) -> bytes:
    """SHA-256 over the signed fields and the signature with b= empty (RFC 6376 §3.7)."""
    chosen = fields.choose(signed)
    chosen.append((signature[0], _without_b(signature[1])))
    lines = [name + b":" + value for name, value in policy.canonicalize_headers(chosen)]
    lines[-1] = lines[-1].removesuffix(b"\r\n")
    return hashlib.sha256(b"".join(lines)).digest()


def _without_b(value: bytes) -> bytes:
    tags = value.removesuffix(b"\r\n").split(b";")
    for index, tag in enumerate(tags):
        name, equals, _ = tag.partition(b"=")
        if equals and name.strip() == b"b":
            tags[index] = name + b"="
    return b";".join(tags) + b"\r\n"


class _Refused(Exception):
    """A signature or a key that cannot pass; the message is the reason, a fixed text."""


@dataclass(frozen=True, slots=True)
class _Signature:
    """A signature that is worth a key look-up."""

    field: tuple[bytes, bytes]
    domain: str
    selector: str
    algorithm: bytes
    policy: CanonicalizationPolicy
    signed: tuple[bytes, ...]
    body_hash: bytes
    signature: bytes
    identity_is_domain: bool

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def relaxed_body(self) -> bool:
        return self.policy.body_algorithm is Relaxed


def _read_signature(field: tuple[bytes, bytes], now_us: int) -> _Signature:
    """The signature of a DKIM-Signature field (RFC 6376 §3.5, §6.1.1). Raises _Refused."""
    if len(field[1]) > MAX_SIGNATURE_LENGTH:
        raise _Refused("signature field too long")
    try:
        tags: dict[bytes, bytes] = parse_tag_value(field[1])
    except InvalidTagValueList:
        raise _Refused("signature is no tag list") from None
    for name in (b"v", b"a", b"b", b"bh", b"d", b"h", b"s"):
        if name not in tags:
            raise _Refused(f"signature without {name.decode()}=")
    if b"l" in tags:
        raise _Refused("l= leaves the end of the body unsigned")
    algorithm = tags[b"a"]
    if algorithm == b"rsa-sha1":
        raise _Refused("rsa-sha1 is no longer accepted")
    # White space out first: the validation's patterns are quadratic on runs of it. Times are compared here, with the
    # caller's clock; i= is read here because the validation fails on one shorter than d=.
    for name in (b"b", b"bh"):
        tags[name] = _SPACE.sub(b"", tags[name])
    signed_at, expires = tags.pop(b"t", None), tags.pop(b"x", None)
    identity = tags.pop(b"i", b"@" + tags[b"d"]).lower()
    try:
        validate_signature_fields(tags)
        policy = CanonicalizationPolicy.from_c_value(tags.get(b"c", b"simple/simple"))
        body_hash, signature = base64.b64decode(tags[b"bh"]), base64.b64decode(tags[b"b"])
    except InvalidCanonicalizationPolicyError:
        raise _Refused("unknown canonicalization") from None
    except (ValidationError, binascii.Error):
        raise _Refused("malformed signature") from None
    if not (_NAME(tags[b"d"]) and _NAME(tags[b"s"])):
        raise _Refused("malformed domain or selector")
    domain = tags[b"d"].lower()
    owner = identity.rpartition(b"@")[2]
    if owner != domain and not owner.endswith(b"." + domain):
        raise _Refused("i= is not of the domain d=")
    signed = tuple(name.strip().lower() for name in tags[b"h"].split(b":"))
    if b"from" not in signed:
        raise _Refused("From is not signed")
    _check_times(signed_at, expires, now_us // 1_000_000)
    # One more From than the signature names: a second one that was added is then part of what is hashed, and fails.
    return _Signature(
        field=field,
        domain=domain.decode("ascii"),
        selector=tags[b"s"].lower().decode("ascii"),
        algorithm=algorithm,
        policy=policy,
        signed=(*signed, b"from"),
        body_hash=body_hash,
        signature=signature,
        identity_is_domain=owner == domain,
    )


def _check_times(signed_at: bytes | None, expires: bytes | None, now: int) -> None:
    if any(value is not None and not _NUMBER(value) for value in (signed_at, expires)):
        raise _Refused("t= or x= is not a number")
    if signed_at is not None and int(signed_at) > now + CLOCK_LEEWAY_S:
        raise _Refused("signed in the future")
    if expires is not None:
        if int(expires) < now - CLOCK_LEEWAY_S:
            raise _Refused("signature expired")
        if signed_at is not None and int(expires) < int(signed_at):
            raise _Refused("expires before it was signed")


@dataclass(frozen=True, slots=True)
class _Key:
    """A key record (RFC 6376 §3.6.1)."""

    public: PublicKey
    testing: bool
    strict: bool


@lru_cache(maxsize=512)
def _read_key(record: bytes) -> _Key | str:
    """The key of a TXT record, or the reason why there is none."""
    if len(record) > MAX_RECORD_LENGTH:
        return "key record too long"
    try:
        tags: dict[bytes, bytes] = parse_tag_value(record)
    except InvalidTagValueList:
        return "key record is no tag list"
    if tags.get(b"v", b"DKIM1") != b"DKIM1":
        return "unknown version of key record"
    if b"p" not in tags:
        return "key record without p="
    if not tags[b"p"]:
        return "key revoked"
    if b"sha256" not in _words(tags.get(b"h", b"sha256")):
        return "key not for sha256"
    if not {b"*", b"email"} & _words(tags.get(b"s", b"*")):
        return "key not for mail"
    try:
        octets = base64.b64decode(_SPACE.sub(b"", tags[b"p"]), validate=True)
        public = _public_key(tags.get(b"k", b"rsa"), octets)
    except (ValueError, UnsupportedAlgorithm):
        return "key cannot be read"
    if isinstance(public, str):
        return public
    flags = _words(tags.get(b"t", b""))
    return _Key(public, testing=b"y" in flags, strict=b"s" in flags)


def _words(value: bytes) -> set[bytes]:
    return {word.strip().lower() for word in value.split(b":")}


def _public_key(kind: bytes, octets: bytes) -> PublicKey | str:
    if kind == b"ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(octets)
    if kind != b"rsa":
        return "unknown kind of key"
    public = load_der_public_key(octets)
    if not isinstance(public, rsa.RSAPublicKey):
        return "key is not an RSA key"
    if public.key_size < MIN_RSA_BITS:
        return f"key shorter than {MIN_RSA_BITS} bits"
    # A long key or a huge exponent makes each verification expensive for us alone.
    if public.key_size > MAX_RSA_BITS or public.public_numbers().e.bit_length() > 64:
        return "key too long"
    return public


class Verifier:
    """Verifies the signatures of one message: header first, then the body in pieces, then the keys."""

    def __init__(self, header: bytes, *, now_us: int) -> None:
        """`header` is the block as received, with or without its empty line; `now_us` judges t= and x=."""
        self._found: list[_Signature | str] = []
        self._bodies: dict[bool, BodyHash] = {}
        self._fields = _Fields(header)
        for place in self._fields.named(b"dkim-signature")[:MAX_SIGNATURES]:
            try:
                signature = _read_signature(self._fields.field(place), now_us)
            except _Refused as refused:
                self._found.append(str(refused))
            else:
                self._found.append(signature)
                self._bodies.setdefault(signature.relaxed_body, BodyHash(relaxed=signature.relaxed_body))

    def update(self, data: bytes) -> None:
        """Take the next octets of the body."""
        for body in self._bodies.values():
            body.update(data)

    def key_names(self) -> list[str]:
        """The names whose TXT records `results` needs, each once."""
        return list(dict.fromkeys(each.key_name for each in self._found if isinstance(each, _Signature)))

    def results(self, key_records: Mapping[str, bytes | None]) -> list[DkimResult]:
        """One result a signature, none for an unsigned message. All of the body must have been given.

        `key_records` maps names to their TXT record (strings joined), to None when there is none; a name that is
        missing could not be looked up, and gives TEMPERROR.
        """
        digests = {relaxed: body.digest() for relaxed, body in self._bodies.items()}
        results = []
        for each in self._found:
            if isinstance(each, str):
                results.append(DkimResult("", "", Outcome.PERMERROR, each))
            else:
                outcome, reason = self._verify(each, digests[each.relaxed_body], key_records)
                results.append(DkimResult(each.domain, each.selector, outcome, reason))
        return results

    def _verify(
        self, signature: _Signature, body_hash: bytes, key_records: Mapping[str, bytes | None]
    ) -> tuple[Outcome, str]:
        if signature.key_name not in key_records:
            return Outcome.TEMPERROR, "key could not be looked up"
        record = key_records[signature.key_name]
        key = _read_key(record) if record is not None else "no key"
        if isinstance(key, str):
            return Outcome.PERMERROR, key
        if key.strict and not signature.identity_is_domain:
            return Outcome.PERMERROR, "i= is not the domain itself"
        if isinstance(key.public, rsa.RSAPublicKey) is not (signature.algorithm == b"rsa-sha256"):
            return Outcome.PERMERROR, "key is of another kind"
        reason = ""
        if body_hash != signature.body_hash:
            reason = "body was changed"
        else:
            header_hash = _header_hash(self._fields, signature.signed, signature.field, signature.policy)
            if not _is_signed(key.public, signature.signature, header_hash):
                reason = "signature does not verify"
        if not reason:
            return Outcome.PASS, ""
        # RFC 6376 §3.6.1: a failure under a key that is being tested counts no more than no signature.
        return (Outcome.NEUTRAL, reason + ", key in test") if key.testing else (Outcome.FAIL, reason)


def _is_signed(key: PublicKey, signature: bytes, digest: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, _PADDING, _PREHASHED)
        else:
            key.verify(signature, digest)  # RFC 8463 §3: what is signed is the hash
    except InvalidSignature:
        return False
    return True


_POLICY: Final = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
_LINE: Final = 76


def sign(header: bytes, body_hash: bytes, *, domain: str, selector: str, key: SigningKey, now_us: int) -> bytes:
    """A DKIM-Signature field, folded, with its CRLF, to be put before `header`.

    `body_hash` is `BodyHash.digest` (relaxed) of the whole body. From is named once more than it occurs, so that a
    second one cannot be added. Raises ValueError when the header has no From. RSA takes about 0.6 ms of CPU.
    """
    fields = _Fields(header)
    signed = [name for name in fields.names if name in SIGNED_FIELDS]
    if b"from" not in signed:
        raise ValueError("a message without From cannot be signed")
    signed.append(b"from")
    algorithm = b"rsa-sha256" if isinstance(key, rsa.RSAPrivateKey) else b"ed25519-sha256"
    value = b" v=1; a=%b; c=relaxed/relaxed; d=%b; s=%b;\r\n\tt=%d; h=%b;\r\n\tbh=%b;\r\n\tb=" % (
        algorithm,
        domain.encode("ascii"),
        selector.encode("ascii"),
        now_us // 1_000_000,
        _fold_names(signed),
        base64.b64encode(body_hash),
    )
    digest = _header_hash(fields, signed, (b"DKIM-Signature", value + b"\r\n"), _POLICY)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(digest, _PADDING, _PREHASHED)
    else:
        signature = key.sign(digest)
    text = base64.b64encode(signature)
    folded = b"\r\n\t ".join(text[start : start + _LINE - 4] for start in range(0, len(text), _LINE - 4))
    return b"DKIM-Signature:" + value + folded + b"\r\n"


def _fold_names(names: list[bytes]) -> bytes:
    """The names joined by colons, folded where a line would grow long; white space is allowed there."""
    lines: list[list[bytes]] = [[]]
    width = 20  # what comes before on the first line
    for name in names:
        width += len(name) + 1
        if width > _LINE:
            lines.append([])
            width = 10 + len(name)
        lines[-1].append(name)
    return b":\r\n\t ".join(b":".join(line) for line in lines)


def load_signing_key(pem: bytes) -> SigningKey:
    """The private key of a PEM file. Raises ValueError when it is none that DKIM can sign with."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError("the DKIM key is encrypted or of an unknown kind") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("a DKIM key is an RSA or an Ed25519 key")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise ValueError(f"an RSA key for DKIM has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    return key


def key_record(key: SigningKey) -> str:
    """The TXT record to publish under ``selector._domainkey.domain`` (RFC 6376 §3.6.1)."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(octets).decode()}"
    octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(octets).decode()}"


def publishes(record: bytes, key: SigningKey) -> bool:
    """Whether others can verify what `key` signs by this TXT record (its strings joined)."""
    read = _read_key(record)
    return isinstance(read, _Key) and read.public == key.public_key()


def auth_results(authserv_id: str, results: Sequence[DkimResult]) -> bytes:
    """An Authentication-Results field with its CRLF (RFC 8601 §2.2)."""
    written = []
    for result in results:
        text = f"dkim={result.outcome}"
        if result.reason:
            text += f' reason="{result.reason}"'
        if result.domain:
            text += f" header.d={result.domain} header.s={result.selector}"
        written.append(text)
    lines = [f"Authentication-Results: {authserv_id}", *(written or ["dkim=none"])]
    return (";\r\n\t".join(lines) + "\r\n").encode("ascii")
