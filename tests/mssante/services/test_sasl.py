"""The mechanisms as they are spoken: what is read of a response, what is not one, and the words of a refusal."""

import base64
import json

import pytest

from mssante.services.sasl import Certificate, Password, Proof, SaslFault, Token, decode, prove, tell_refused

LONG = "e" * 4000


@pytest.mark.parametrize(
    ("mechanism", "response", "proof"),
    [
        ("PLAIN", b"\0a@b.test\0secret", Password("a@b.test", "secret")),
        ("PLAIN", b"autre\0a@b.test\0secret", Password("a@b.test", "secret", "autre")),
        ("PLAIN", "\0a@b.test\0é".encode(), Password("a@b.test", "é")),
        ("XOAUTH2", b"user=a@b.test\x01auth=Bearer x.y.z\x01\x01", Token("a@b.test", "x.y.z", "XOAUTH2")),
        ("XOAUTH2", b"user=\x01auth=bearer x\x01\x01", Token("", "x", "XOAUTH2")),
        ("XOAUTH2", f"user=a\x01auth=Bearer {LONG}\x01\x01".encode(), Token("a", LONG, "XOAUTH2")),
        ("OAUTHBEARER", b"n,a=a@b.test,\x01auth=Bearer x.y.z\x01\x01", Token("a@b.test", "x.y.z", "OAUTHBEARER")),
        ("OAUTHBEARER", b"y,,\x01host=h.test\x01port=143\x01auth=Bearer x\x01\x01", Token("", "x", "OAUTHBEARER")),
        ("OAUTHBEARER", b"n,a=a=2Cb=3Dc,\x01auth=Bearer x\x01\x01", Token("a,b=c", "x", "OAUTHBEARER")),
        # RFC 7628 §4.3: a client that asks what is wanted.
        ("OAUTHBEARER", b"n,a=a@b.test,\x01auth=\x01\x01", Token("a@b.test", "", "OAUTHBEARER")),
        ("EXTERNAL", b"", Certificate("")),
        ("EXTERNAL", b"a@b.test", Certificate("a@b.test")),
    ],
)
async def test_a_response_is_read(mechanism: str, response: bytes, proof: Proof) -> None:
    async def ask(challenge: bytes) -> bytes:
        assert challenge == b""
        return base64.b64encode(response) or b"="

    assert await prove(mechanism, response, ask) == proof
    assert await prove(mechanism, None, ask) == proof
    assert "secret" not in repr(proof) and "x.y.z" not in repr(proof)


async def test_login_asks_twice() -> None:
    asked = []

    async def ask(challenge: bytes) -> bytes:
        asked.append(base64.b64decode(challenge))
        return base64.b64encode(b"a@b.test" if asked[-1] == b"Username:" else b"secret")

    assert await prove("LOGIN", None, ask) == Password("a@b.test", "secret")
    assert asked == [b"Username:", b"Password:"]


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        *(("PLAIN", response) for response in (b"", b"a\0b", b"\0\0s", b"\0a@b.test\0", b"\0a\0b\0c", b"\0\xff\0b")),
        ("XOAUTH2", b""),
        ("XOAUTH2", b"user=a@b.test\x01auth=Bearer x\x01"),
        ("XOAUTH2", b"user=a@b.test\x01auth=Basic x\x01\x01"),
        ("XOAUTH2", b"auth=Bearer x\x01\x01"),
        ("XOAUTH2", b"user=\xff\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", b""),
        ("OAUTHBEARER", b"n,,\x01"),
        ("OAUTHBEARER", b"n,,\x01\x01"),
        ("OAUTHBEARER", b"p=tls-unique,,\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", b"n,a=a=,\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Basic x\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer x y\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer x\x01"),
        ("EXTERNAL", b"\xff"),
    ],
)
async def test_what_is_no_response(mechanism: str, response: bytes) -> None:
    with pytest.raises(SaslFault):
        await prove(mechanism, response, pytest.fail)


@pytest.mark.parametrize("line", [b"!", b"a", b"=a", b"YQ==\0"])
def test_what_is_no_base64(line: bytes) -> None:
    with pytest.raises(SaslFault):
        decode(line)


@pytest.mark.parametrize(
    ("mechanism", "status", "said"),
    [
        ("XOAUTH2", "invalid_token", {"status": "401", "schemes": "bearer", "scope": "mail"}),
        ("XOAUTH2", "insufficient_scope", {"status": "403", "schemes": "bearer", "scope": "mail"}),
        (
            "OAUTHBEARER",
            "invalid_token",
            {"status": "invalid_token", "scope": "openid scope_all", "openid-configuration": "https://psc.test/d"},
        ),
    ],
)
async def test_a_refused_token_is_told_in_json(mechanism: str, status: str, said: dict[str, str]) -> None:
    told = []

    async def ask(challenge: bytes) -> bytes:
        told.append(json.loads(base64.b64decode(challenge)))
        return b"AQ=="

    await tell_refused(Token("a", "x", mechanism), status, "https://psc.test/d", ask)
    assert told == [said]
