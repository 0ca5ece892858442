"""Pro Santé Connect: which professional a bearer token speaks for, asked of the issuer (RFC 7662) or read from the
token under the issuer's keys (RFC 7519, 7517), as the settings say.

What must always hold:
- Nothing of a token is believed before its issuer said that it is active, or its signature held under a key of the
  issuer's by an algorithm of `ALGORITHMS`: never none, never a shared secret.
- Time and octets of every answer are bounded; redirections are not followed; tokens are in no log and no exception.
- An issuer out of reach is `Defer`, never a refusal and never a yes; it concerns who signs in now, nobody else.
- What is remembered is a digest of the token with its verdict, for a minute at most and never beyond its expiry.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from espace_confiance.fetch import url_fault
from mssante.domain.identifiers import Adeli, IdentifierError, Rpps, parse_professional
from mssante.domain.verdict import Defer, Refuse, Rule

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
DISCOVERY: Final = "/.well-known/wallet-openid-configuration"
"""Where Pro Santé Connect keeps its discovery document, and not where OpenID Connect Discovery §4 says (facts 8)."""
SKEW_S: Final = 60
"""How far the issuer's clock may be from ours (facts 8)."""

_MAX_OCTETS: Final = 256 * 1024
_REMEMBERED: Final = 10_000
_REMEMBER_US: Final = 60_000_000
_REFUSED_US: Final = 10_000_000
_DOCUMENT_US: Final = 3_600_000_000
"""How long the discovery document and the keys are used before they are asked for again."""
_NEW_KEYS_US: Final = 30_000_000
"""No more often are the keys asked for because a token names one that is not among them."""
_REST_US: Final = 5_000_000
"""How long an issuer that gave no answer is left alone."""
_REGISTRY: Final = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")


@dataclass(frozen=True, slots=True)
class Issuer:
    """``audiences``: of whose software tokens count, by ``aud`` or ``azp``; ``*`` among them: of anybody's.
    ``client_id``, ``client_secret``: this operator's, for introspection; an empty id: keys are used instead."""

    issuer: str
    audiences: frozenset[str]
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    discovery: str = ""
    timeout_s: float = 5.0

    @property
    def document(self) -> str:
        """URL of the discovery document."""
        return self.discovery or self.issuer + DISCOVERY


class _Refused(Exception):
    """The token opens nothing; the text says why, for the log."""


class _Unavailable(Exception):
    """The issuer's answer is of no use."""


@dataclass(slots=True)
class _Document:
    """What the issuer publishes, as of the last time it was asked for."""

    said: dict[str, Any] = field(default_factory=dict)
    asked_us: int = -_DOCUMENT_US
    rests_until_us: int = 0
    """It was asked for in vain: until then it is not asked for again, however many tokens come."""

    def older(self, age_us: int, now_us: int) -> bool:
        return now_us - self.asked_us >= age_us


class ProSanteConnect:
    """One for all edges of the process. ``context``: how the issuer's servers are verified."""

    def __init__(self, issuer: Issuer, context: ssl.SSLContext) -> None:
        self.issuer = issuer
        self._http = httpx2.AsyncClient(
            verify=context,
            trust_env=False,
            timeout=issuer.timeout_s,
            limits=httpx2.Limits(max_connections=16, keepalive_expiry=60),
            headers={"Accept-Encoding": "identity", "Accept": "application/json", "User-Agent": "mssante"},
        )
        self._asking = asyncio.Lock()
        self._discovered, self._keys = _Document(), _Document()
        self._resting_until_us = 0
        self._judged: OrderedDict[bytes, tuple[Rpps | Adeli | Refuse, int]] = OrderedDict()

    async def identify(self, token: str, now_us: int) -> Rpps | Adeli | Refuse | Defer:
        """The professional that the token speaks for."""
        if not _TOKEN.fullmatch(token):
            return Refuse(Rule.AUTH_REFUSED, "not a bearer token")
        digest = hashlib.sha256(token.encode("ascii")).digest()
        known, until_us = self._judged.get(digest, (None, 0))
        if known is not None and now_us < until_us:
            return known
        if now_us < self._resting_until_us:
            return Defer(Rule.AUTH_UNAVAILABLE, "Pro Sante Connect gave no answer a moment ago")
        verdict: Rpps | Adeli | Refuse
        try:
            async with asyncio.timeout(self.issuer.timeout_s):
                claims = await (self._introspected if self.issuer.client_id else self._read)(token, now_us)
                verdict = await self._person(claims, token, now_us)
            until_us = min(now_us + _REMEMBER_US, int(claims.get("exp", 0)) * 1_000_000)
        except _Refused as refused:
            verdict, until_us = Refuse(Rule.AUTH_REFUSED, f"token: {refused}"), now_us + _REFUSED_US
        except _Unavailable as fault:
            return Defer(Rule.AUTH_UNAVAILABLE, f"Pro Sante Connect: {fault}")
        except (TimeoutError, httpx2.HTTPError) as fault:
            self._resting_until_us = now_us + _REST_US
            return Defer(Rule.AUTH_UNAVAILABLE, f"Pro Sante Connect: {type(fault).__name__}")
        self._judged[digest] = verdict, until_us
        while len(self._judged) > _REMEMBERED:
            self._judged.popitem(last=False)
        return verdict

    async def close(self) -> None:
        await self._http.aclose()

    async def _introspected(self, token: str, now_us: int) -> dict[str, Any]:
        """What the issuer says of the token (RFC 7662 §2)."""
        answer = await self._json(
            "POST",
            await self._endpoint("introspection_endpoint", now_us),
            data={"token": token, "token_type_hint": "access_token"},
            auth=(self.issuer.client_id, self.issuer.client_secret),
        )
        if answer.get("active") is not True:
            raise _Refused("not active")
        return judged(answer, self.issuer, now_us)

    async def _read(self, token: str, now_us: int) -> dict[str, Any]:
        """What the token says, under a key of the issuer's (RFC 7519 §7.2)."""
        try:
            kid = jws.extract_compact(token.encode("ascii")).headers().get("kid")
            key = _key(await self._published_keys(now_us), kid)
            if key is None and self._keys.older(_NEW_KEYS_US, now_us):
                key = _key(await self._published_keys(now_us, _NEW_KEYS_US), kid)
            if key is None:
                raise _Refused("signed with a key that the issuer does not publish")
            claims = jwt.decode(token, key, registry=_REGISTRY).claims
        except (JoseError, ValueError) as fault:
            raise _Refused(f"not a signed token: {type(fault).__name__}") from None
        if not {"iss", "exp"} <= claims.keys():
            raise _Refused("without iss or exp")
        return judged(claims, self.issuer, now_us)

    async def _person(self, claims: Mapping[str, Any], token: str, now_us: int) -> Rpps | Adeli:
        """SubjectNameID is the PS_IdNat; Keycloak keeps it in preferred_username, too (facts 8)."""
        name = claims.get("SubjectNameID") or claims.get("preferred_username")
        if not name:
            url = await self._endpoint("userinfo_endpoint", now_us)
            said = await self._json("GET", url, headers={"Authorization": f"Bearer {token}"})
            if said.get("sub") != claims.get("sub"):  # OpenID Connect Core §5.3.2
                raise _Refused("userinfo speaks of somebody else")
            name = said.get("SubjectNameID")
        try:
            return parse_professional(str(name or ""))
        except IdentifierError as fault:
            raise _Refused(f"SubjectNameID is {fault}") from None

    async def _endpoint(self, name: str, now_us: int) -> str:
        url = (await self._published(self._discovered, self.issuer.document, now_us)).get(name)
        if not isinstance(url, str) or url_fault(url):
            raise _Unavailable(f"the discovery document has no usable {name}")
        return url

    async def _published_keys(self, now_us: int, age_us: int = _DOCUMENT_US) -> Mapping[str, Any]:
        return await self._published(self._keys, await self._endpoint("jwks_uri", now_us), now_us, age_us)

    async def _published(
        self, document: _Document, url: str, now_us: int, age_us: int = _DOCUMENT_US
    ) -> Mapping[str, Any]:
        """What the document says, asked for again when it is as old as that."""
        async with self._asking:
            if document.older(age_us, now_us):
                if now_us < document.rests_until_us:
                    raise _Unavailable(f"{url} was of no use a moment ago")
                document.rests_until_us = now_us + _REST_US
                said = await self._json("GET", url)
                if document is self._discovered and said.get("issuer") != self.issuer.issuer:
                    raise _Unavailable("the discovery document is another issuer's")
                document.said, document.asked_us, document.rests_until_us = said, now_us, 0
        return document.said

    async def _json(self, method: str, url: str, **said: Any) -> dict[str, Any]:
        async with self._http.stream(method, url, **said) as answer:
            if answer.status_code != 200:
                raise _Unavailable(f"{url} answers {answer.status_code}")
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _MAX_OCTETS:
                    raise _Unavailable(f"{url} sends more than {_MAX_OCTETS} octets")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise _Unavailable(f"{url} sends no JSON object")
        return value


def judged(claims: dict[str, Any], issuer: Issuer, now_us: int) -> dict[str, Any]:
    """The claims, when those that are there hold (RFC 7519 §4.1, RFC 7662 §2.2). Raises _Refused."""
    if claims.get("iss", issuer.issuer) != issuer.issuer:
        raise _Refused("of another issuer")
    times = {name: claims[name] for name in ("exp", "nbf") if name in claims}
    if not all(isinstance(at, int | float) and math.isfinite(at) for at in times.values()):
        raise _Refused("exp or nbf is no time")
    now_s = now_us / 1_000_000
    if times.get("exp", now_s) < now_s - SKEW_S:
        raise _Refused("expired")
    if times.get("nbf", now_s) > now_s + SKEW_S:
        raise _Refused("not valid yet")
    # Keycloak signs its ID and refresh tokens with the same keys: they go to others, and open nothing here.
    if claims.get("typ", "Bearer") not in ("Bearer", "DPoP"):
        raise _Refused("no access token")
    audience = claims.get("aud")
    meant = [*(audience if isinstance(audience, list) else [audience]), claims.get("azp"), claims.get("client_id")]
    if "*" not in issuer.audiences and not any(one in issuer.audiences for one in meant if isinstance(one, str)):
        raise _Refused("made for other software")
    return claims


def _key(published: Mapping[str, Any], kid: object) -> KeySet | None:
    """The key of this name, when there is just one for signatures."""
    keys = published.get("keys")
    named = [key for key in keys if isinstance(key, dict) and key.get("kid") == kid] if isinstance(keys, list) else []
    usable = [key for key in named if key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig"]
    return KeySet.import_key_set({"keys": usable}) if len(usable) == 1 and isinstance(kid, str) else None
