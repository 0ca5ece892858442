"""LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3; SASL-IR RFC 4959; PLAIN RFC 4616).

Invariants: no password is taken in clear; it is kept no longer than the sign-in lasts; a failed sign-in says the same
whether the address exists or not; a connection has a limited number of tries.
"""

from __future__ import annotations

from imap import responses
from imap.grammar import read_base64
from imap.lexer import Refused, SyntaxFault, decode_text
from imap.session import Session
from imap.values import Authenticate, Login
from mssante.domain.verdict import Defer
from mssante.services.accounts import SignedIn


async def login(session: Session, value: Login) -> bytes:
    _need_tls(session)
    return await _sign_in(session, value.login, value.password)


async def authenticate(session: Session, value: Authenticate) -> bytes:
    _need_tls(session)
    if value.mechanism == "PLAIN":
        return await _plain(session, value.initial)
    if value.mechanism == "LOGIN":
        return await _login(session, value.initial)
    raise Refused("Mecanisme inconnu: PLAIN ou LOGIN", "CANNOT")


def _need_tls(session: Session) -> None:
    if not session.wire.encrypted:
        raise Refused("Connexion chiffree exigee: STARTTLS d'abord", "PRIVACYREQUIRED")


async def _plain(session: Session, initial: bytes | None) -> bytes:
    response = initial if initial is not None else await _ask(session, b"")
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise SyntaxFault("not a PLAIN response")
    actor, name, password = map(decode_text, parts)
    if actor and actor.lower() != name.lower():
        raise Refused("On ne se connecte qu'en son propre nom", "AUTHORIZATIONFAILED")
    return await _sign_in(session, name, password)


async def _login(session: Session, initial: bytes | None) -> bytes:
    name = initial if initial is not None else await _ask(session, b"VXNlcm5hbWU6")
    return await _sign_in(session, decode_text(name), decode_text(await _ask(session, b"UGFzc3dvcmQ6")))


async def _ask(session: Session, challenge: bytes) -> bytes:
    session.wire.write(b"+ " + challenge + b"\r\n")
    line = await session.wire.line()
    if line.data == b"*":
        raise SyntaxFault("AUTHENTICATE cancelled")
    return read_base64(line.data)


async def _sign_in(session: Session, name: str, password: str) -> bytes:
    await session.wire.flush()
    outcome = await session.server.accounts.sign_in(name, password, peer=session.wire.peer)
    if isinstance(outcome, SignedIn):
        await session.sign_in(outcome)
        return responses.condition("OK", "Signed in", "CAPABILITY " + session.capability)
    session.count_failed_login()
    if isinstance(outcome, Defer):
        raise Refused("Trop d'essais ou service indisponible: reessayez plus tard", "UNAVAILABLE")
    raise Refused("Identifiant ou mot de passe refuse, ou compte ferme", "AUTHENTICATIONFAILED")
