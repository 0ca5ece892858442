"""Our signatures verify with stock dkimpy, dkimpy's with ours, for any body and any cut; what may not pass does not.

The expected canonical forms are dkimpy's, which is an independent reader here: its message-sized forms are compared
with our streamed ones.
"""

import base64
import hashlib
import random
from collections.abc import Callable
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given, settings
from hypothesis import strategies as st

from mssante.mime.dkim import (
    BodyHash,
    DkimResult,
    Outcome,
    SigningKey,
    Verifier,
    auth_results,
    key_record,
    load_signing_key,
    sign,
)

NOW = 1_763_802_000_000_000
RSA = rsa.generate_private_key(65_537, 2_048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
RECORD = key_record(RSA).encode()
PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
NAME = "s1._domainkey.cabinet.test"

HEADER = (
    b"Received: from a.test by b.test; Sat, 22 Nov 2025 10:00:00 +0100\r\n"
    b"From: H <h@cabinet.test>\r\n"
    b"To:  j@clinique.test ,\r\n\t k@clinique.test\r\n"
    b"Subject: =?utf-8?q?R=C3=A9sultats?=  \r\n"
    b"Date: Sat, 22 Nov 2025 10:00:00 +0100\r\n"
    b"X-MSS-MES: FIN\r\n"
    b"\r\n"
)
BODY = b"Bonjour,  \r\n\r\nvoici\tles   r\xc3\xa9sultats. \r\n\r\n\r\n"

BODIES = st.lists(
    st.sampled_from((b"\r\n", b"\r\n\r\n", b" ", b"\t", b"  ", b" \r\n", b"a", b"bc d", b"\t \r\n", b"\r", b"\n", b"."))
).map(b"".join)


def body_hash(body: bytes, *, relaxed: bool = True, seed: int | None = None, longest: int = 5) -> bytes:
    hashed = BodyHash(relaxed=relaxed)
    chance = random.Random(seed)
    position = 0
    while position < len(body):
        step = chance.randint(1, longest) if seed is not None else len(body)
        hashed.update(body[position : position + step])
        position += step
    return hashed.digest()


def signed(header: bytes = HEADER, body: bytes = BODY, key: SigningKey = RSA) -> bytes:
    field = sign(header, body_hash(body), domain="cabinet.test", selector="s1", key=key, now_us=NOW)
    return field + header + body


def verify(
    message: bytes, record: bytes | None = RECORD, *, now_us: int = NOW, seed: int | None = None
) -> list[DkimResult]:
    header, separator, body = message.partition(b"\r\n\r\n")
    verifier = Verifier(header + separator, now_us=now_us)
    chance = random.Random(seed)
    position = 0
    while position < len(body):
        step = chance.randint(1, 7) if seed is not None else len(body)
        verifier.update(body[position : position + step])
        position += step
    return verifier.results(dict.fromkeys(verifier.key_names(), record))


def outcome(message: bytes, record: bytes | None = RECORD, *, now_us: int = NOW) -> tuple[Outcome, str]:
    (result,) = verify(message, record, now_us=now_us)
    return result.outcome, result.reason


PASS = (Outcome.PASS, "")
UNVERIFIED = (Outcome.FAIL, "signature does not verify")
CHANGED = (Outcome.FAIL, "body was changed")


def by_dkimpy(message: bytes, record: bytes = RECORD) -> bool:
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: record))


@settings(deadline=None, max_examples=500)
@given(BODIES, st.integers(0, 2**32), st.integers(1, 40))
def test_body_hashes_are_dkimpys(body: bytes, seed: int, longest: int) -> None:
    for relaxed, canonical in ((True, Relaxed), (False, Simple)):
        expected = hashlib.sha256(canonical.canonicalize_body(body)).digest()
        assert body_hash(body, relaxed=relaxed) == expected
        assert body_hash(body, relaxed=relaxed, seed=seed, longest=longest) == expected


@settings(deadline=None, max_examples=60)
@given(BODIES)
def test_our_signatures_verify_with_dkimpy(body: bytes) -> None:
    body = body.replace(b"\r", b"").replace(b"\n", b"\r\n")  # dkimpy takes bare line feeds for line ends
    message = signed(body=body)
    assert by_dkimpy(message)
    assert outcome(message) == PASS


@settings(deadline=None, max_examples=15)  # dkimpy signs in Python: 7 ms each
@given(
    BODIES, st.sampled_from([(h, b) for h in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")]), st.integers()
)
def test_dkimpys_signatures_verify_with_ours(body: bytes, policy: tuple[bytes, bytes], seed: int) -> None:
    body = body.replace(b"\r", b"").replace(b"\n", b"\r\n")
    field = dkim.sign(HEADER + body, b"s1", b"cabinet.test", PEM, canonicalize=policy)
    now_us = 1_000_000 * int(dkim.util.parse_tag_value(field.partition(b":")[2])[b"t"])
    (result,) = verify(field + HEADER + body, now_us=now_us, seed=seed)
    assert result == DkimResult("cabinet.test", "s1", Outcome.PASS)


def test_ed25519() -> None:
    message = signed(key=ED25519)
    record = key_record(ED25519).encode()
    assert outcome(message, record) == PASS
    assert outcome(message + b"x", record) == (Outcome.FAIL, "body was changed")
    assert outcome(message) == (Outcome.PERMERROR, "key is of another kind")


def test_shape_of_our_signature() -> None:
    message = signed()
    field = message[: message.index(b"\r\nReceived:") + 2]
    assert field.startswith(
        b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=cabinet.test; s=s1;\r\n\tt=1763802000;"
    )
    assert all(len(line) <= 80 and line.isascii() for line in field.split(b"\r\n"))
    tags = dkim.util.parse_tag_value(field.partition(b":")[2])
    names = b"".join(tags[b"h"].split())
    # From once more than it occurs; trace fields not at all; what ends an exchange is protected.
    assert names == b"from:to:subject:date:x-mss-mes:from"


CHANGES: list[tuple[str, Callable[[bytes], bytes], tuple[Outcome, str]]] = [
    ("nothing", lambda m: m, PASS),
    (
        "white space, which relaxed forgives",
        lambda m: m.replace(b"To:  j", b"TO: j").replace(b"les   r", b"les r"),
        PASS,
    ),
    ("a trace field above", lambda m: b"Received: x\r\n" + m, PASS),
    ("empty lines at the end", lambda m: m + b"\r\n \r\n", PASS),
    ("a field that is not signed", lambda m: b"X-Note: y\r\n" + m, PASS),
    ("the subject", lambda m: m.replace(b"=C3=A9", b"=C3=A8"), UNVERIFIED),
    ("the subject removed", lambda m: m.replace(b"Subject", b"X-Subject"), UNVERIFIED),
    (
        "a second From below",
        lambda m: m.replace(b"X-MSS", b"From: x@y.test\r\nX-MSS"),
        UNVERIFIED,
    ),
    ("a second From above", lambda m: b"From: x@y.test\r\n" + m, UNVERIFIED),
    ("the body", lambda m: m.replace(b"voici", b"voila"), CHANGED),
    ("text appended", lambda m: m + b"P.S.\r\n", CHANGED),
    ("body removed", lambda m: m[: m.index(b"Bonjour")], CHANGED),
    ("the end of exchange", lambda m: m.replace(b"MES: FIN", b"MES: x"), UNVERIFIED),
    (
        "time of signature",
        lambda m: m.replace(b"t=1763802000", b"t=1763802001"),
        UNVERIFIED,
    ),
]


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_changes(change: Callable[[bytes], bytes], expected: tuple[Outcome, str]) -> None:
    assert outcome(change(signed())) == expected


def test_from_added_is_seen_though_dkim_would_not_ask() -> None:
    """A signature that names From once only: RFC 6376 would let a second From pass above the first."""
    field = dkim.sign(HEADER + BODY, b"s1", b"cabinet.test", PEM, include_headers=[b"from", b"subject"])
    now_us = 1_000_000 * int(dkim.util.parse_tag_value(field.partition(b":")[2])[b"t"])
    assert outcome(field + HEADER + BODY, now_us=now_us) == PASS
    assert outcome(b"From: x@y.test\r\n" + field + HEADER + BODY, now_us=now_us)[0] is Outcome.FAIL


def tampered(old: bytes, new: bytes) -> bytes:
    message = signed()
    field, separator, rest = message.partition(b"\r\nReceived:")
    assert old in field
    return field.replace(old, new, 1) + separator + rest


SIGNATURES: list[tuple[bytes, bytes, str]] = [
    (b"v=1;", b"v=1; l=10;", "l= leaves the end of the body unsigned"),
    (b"a=rsa-sha256", b"a=rsa-sha1", "rsa-sha1 is no longer accepted"),
    (b"a=rsa-sha256", b"a=hmac", "malformed signature"),
    (b"v=1;", b"v=2;", "malformed signature"),
    (b"v=1;", b"", "signature without v="),
    (b"s=s1;", b"", "signature without s="),
    (b"d=cabinet.test;", b"", "signature without d="),
    (b"v=1;", b"v=1; v=1;", "signature is no tag list"),
    (b"v=1;", b"v=1; rubbish;", "signature is no tag list"),
    (b"c=relaxed/relaxed", b"c=relaxed/none", "unknown canonicalization"),
    (b"d=cabinet.test", b"d=cabinet test", "malformed domain or selector"),
    (b"d=cabinet.test", b"d=caf\xc3\xa9.test", "malformed domain or selector"),
    (b"s=s1", b"s=" + b"s" * 300, "malformed domain or selector"),
    (b"v=1;", b"v=1; i=@autre.test;", "i= is not of the domain d="),
    (b"v=1;", b"v=1; i=x;", "i= is not of the domain d="),
    (b"v=1;", b"v=1; i=@notcabinet.test;", "i= is not of the domain d="),
    (b"t=1763802000", b"t=1863802000", "signed in the future"),
    (b"t=1763802000", b"t=x", "t= or x= is not a number"),
    (b"v=1;", b"v=1; x=1763702000;", "signature expired"),
    (b"v=1;", b"v=1; x=1763801999;", "expires before it was signed"),
    (b"v=1;", b"v=1; q=x;", "malformed signature"),
    (b"\tb=", b"\tb=?", "malformed signature"),
    (b"v=1;", b"v=1; z=" + b"x" * 9_000 + b";", "signature field too long"),
]


@pytest.mark.parametrize(("old", "new", "reason"), SIGNATURES)
def test_signatures_that_are_refused(old: bytes, new: bytes, reason: str) -> None:
    assert outcome(tampered(old, new)) == (Outcome.PERMERROR, reason)


def test_from_must_be_signed() -> None:
    message = signed().replace(b"h=from:to:subject:date:x-mss-mes:from", b"h=to:subject")
    assert outcome(message) == (Outcome.PERMERROR, "From is not signed")


def rsa_record(bits: int) -> bytes:
    return key_record(rsa.generate_private_key(65_537, bits)).encode()


def long_exponent() -> bytes:
    numbers = rsa.RSAPublicNumbers(2**65 + 1, RSA.public_key().public_numbers().n)
    octets = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; p=" + base64.b64encode(octets)


EC_KEY = (
    ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)

KEYS: list[tuple[str, bytes | None, tuple[Outcome, str]]] = [
    ("plain", RECORD, PASS),
    ("without version and kind", RECORD.replace(b"v=DKIM1; k=rsa; ", b""), PASS),
    ("with white space", RECORD.replace(b"p=MII", b"p= M II"), PASS),
    ("with notes", RECORD + b"; n=note; h=sha1:sha256; s=email; x=y", PASS),
    ("strict", RECORD + b"; t=s", PASS),
    ("none", None, (Outcome.PERMERROR, "no key")),
    ("another version", RECORD.replace(b"DKIM1", b"DKIM2"), (Outcome.PERMERROR, "unknown version of key record")),
    ("empty", b"", (Outcome.PERMERROR, "key record without p=")),
    ("no tag list", b"p", (Outcome.PERMERROR, "key record is no tag list")),
    ("revoked", b"v=DKIM1; p=", (Outcome.PERMERROR, "key revoked")),
    ("not for sha256", RECORD + b"; h=sha1", (Outcome.PERMERROR, "key not for sha256")),
    ("not for mail", RECORD + b"; s=tlsrpt", (Outcome.PERMERROR, "key not for mail")),
    ("unknown kind", RECORD.replace(b"k=rsa", b"k=x"), (Outcome.PERMERROR, "unknown kind of key")),
    ("not base64", b"p=???", (Outcome.PERMERROR, "key cannot be read")),
    ("not a key", b"p=QUJD", (Outcome.PERMERROR, "key cannot be read")),
    ("a key of another kind", b"p=" + base64.b64encode(EC_KEY), (Outcome.PERMERROR, "key is not an RSA key")),
    ("a huge exponent", long_exponent(), (Outcome.PERMERROR, "key too long")),
    ("a huge record", RECORD + b"; n=" + b"x" * 5_000, (Outcome.PERMERROR, "key record too long")),
    ("of another key", rsa_record(2_048), UNVERIFIED),
    (
        "in test, of another key",
        rsa_record(2_048) + b"; t=y",
        (Outcome.NEUTRAL, "signature does not verify, key in test"),
    ),
    ("in test", RECORD + b"; t=y:s", PASS),
]


@pytest.mark.parametrize(("record", "expected"), [case[1:] for case in KEYS], ids=[case[0] for case in KEYS])
def test_key_records(record: bytes | None, expected: tuple[Outcome, str]) -> None:
    assert outcome(signed(), record) == expected


def test_short_key_is_refused() -> None:
    """RFC 8301 §3.2. No key below 1024 bits is made here: the modulus alone is given, in the form of RFC 8017."""
    numbers = rsa.RSAPublicNumbers(65_537, 2**767 + 3**100 * 2 + 1)
    octets = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert outcome(signed(), b"p=" + base64.b64encode(octets)) == (Outcome.PERMERROR, "key shorter than 1024 bits")


def test_strict_key_refuses_a_subdomain() -> None:
    message = tampered(b"v=1;", b"v=1; i=@sub.cabinet.test;")
    assert outcome(message, RECORD + b"; t=s") == (Outcome.PERMERROR, "i= is not the domain itself")


def test_key_that_could_not_be_looked_up() -> None:
    header, _, body = signed().partition(b"\r\n\r\n")
    verifier = Verifier(header + b"\r\n\r\n", now_us=NOW)
    verifier.update(body)
    assert verifier.key_names() == [NAME]
    assert verifier.results({}) == [DkimResult("cabinet.test", "s1", Outcome.TEMPERROR, "key could not be looked up")]


def test_three_signatures_at_most() -> None:
    message = signed()
    for _ in range(4):
        message = b"DKIM-Signature: rubbish\r\n" + message
    results = verify(message)
    assert [result.outcome for result in results] == [Outcome.PERMERROR] * 3


def test_no_signature() -> None:
    assert verify(HEADER + BODY) == []
    assert verify(b"\r\n\r\nbody") == []


def test_message_without_from_is_not_signed() -> None:
    with pytest.raises(ValueError, match="From"):
        sign(b"Subject: x\r\n\r\n", bytes(32), domain="cabinet.test", selector="s1", key=RSA, now_us=NOW)


HOSTILE: list[tuple[str, bytes]] = [
    ("spaces", b" " * 1_000_000),
    ("lines of spaces", (b" \t" * 499 + b"\r\n") * 1_000),
    ("empty lines", b"\r\n" * 500_000),
    ("empty lines, then text", b"\r\n" * 500_000 + b"x"),
    ("bare CR", b"\r" * 1_000_000),
    ("spaces before CR", b" \r" * 500_000),
]


@pytest.mark.parametrize("body", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_bodies_take_linear_time(body: bytes) -> None:
    """dkimpy's own canonicalization takes minutes on some of these."""
    for relaxed in (True, False):
        whole = body_hash(body, relaxed=relaxed)
        assert body_hash(body, relaxed=relaxed, seed=1, longest=60_000) == whole


HOSTILE_FIELDS: list[tuple[str, bytes]] = [
    ("continuation lines", b"From: x\r\n" + b" y\r\n" * 60_000),
    ("many fields", b"a:\r\n" * 60_000 + b"From: x\r\n"),
    ("a signature of white space", b"DKIM-Signature: v=1; b=" + b" \r\n" * 60_000 + b"\r\nFrom: x\r\n"),
    ("many fields to sign", b"From: x\r\n" + b"To:\r\n" * 40_000),
    ("a long list", b"DKIM-Signature: v=1; h=" + b"a:" * 3_000 + b"\r\n" + b"a:\r\n" * 50_000 + b"From: x\r\n"),
]


@pytest.mark.parametrize("header", [case[1] for case in HOSTILE_FIELDS], ids=[case[0] for case in HOSTILE_FIELDS])
def test_hostile_headers_take_linear_time(header: bytes) -> None:
    verifier = Verifier(header + b"\r\n", now_us=NOW)
    assert all(result.outcome is Outcome.PERMERROR for result in verifier.results({}))
    assert sign(header + b"\r\n", bytes(32), domain="cabinet.test", selector="s1", key=ED25519, now_us=NOW)


def test_signing_keys_from_files() -> None:
    for key in (RSA, ED25519):
        assert key_record(load_signing_key(_pem(key))) == key_record(key)
    assert key_record(load_signing_key(PEM)) == key_record(RSA)
    with pytest.raises(ValueError, match="RSA or an Ed25519"):
        load_signing_key(_pem(ec.generate_private_key(ec.SECP256R1())))
    encrypted = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(ValueError, match="encrypted"):
        load_signing_key(encrypted)
    with pytest.raises(ValueError):
        load_signing_key(b"no key")


def _pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_authentication_results() -> None:
    """RFC 8601 §2.2."""
    results = [
        DkimResult("cabinet.test", "s1", Outcome.PASS),
        DkimResult("", "", Outcome.PERMERROR, "malformed signature"),
    ]
    assert auth_results("mx.clinique.test", results) == (
        b"Authentication-Results: mx.clinique.test;\r\n"
        b"\tdkim=pass header.d=cabinet.test header.s=s1;\r\n"
        b'\tdkim=permerror reason="malformed signature"\r\n'
    )
    assert auth_results("mx.clinique.test", []) == b"Authentication-Results: mx.clinique.test;\r\n\tdkim=none\r\n"
