"""LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3; SASL-IR RFC 4959).

Invariants: no password and no token is taken in clear; it is kept no longer than the sign-in lasts; a failed sign-in
says the same whether the address exists or not; a connection has a limited number of tries.
"""

from __future__ import annotations

import structlog

from imap import responses
from imap.lexer import Refused, SyntaxFault
from imap.session import Session
from imap.values import Authenticate, Login
from mssante.domain.replies import REPLIES
from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.services.accounts import SignedIn
from mssante.services.sasl import SaslFault

_log = structlog.get_logger("imap")


async def login(session: Session, value: Login) -> bytes:
    _need_tls(session)
    await session.wire.flush()
    peer = session.wire.peer
    return await _answer(session, await session.server.accounts.sign_in(value.login, value.password, peer=peer))


async def authenticate(session: Session, value: Authenticate) -> bytes:
    _need_tls(session)
    accounts, client = session.server.accounts, session.wire.client
    offered = accounts.mechanisms(client)
    if value.mechanism not in offered:
        raise Refused(f"Mecanisme inconnu: {', '.join(offered)}", "CANNOT")

    async def ask(challenge: bytes) -> bytes:
        session.wire.write(b"+ " + challenge + b"\r\n")
        line = await session.wire.line()
        if line.data == b"*":
            raise SyntaxFault("AUTHENTICATE cancelled")
        return line.data

    await session.wire.flush()
    try:
        outcome = await accounts.authenticate(value.mechanism, value.initial, ask, client)
    except SaslFault:
        raise SyntaxFault(f"not a {value.mechanism} response") from None
    return await _answer(session, outcome)


def _need_tls(session: Session) -> None:
    if not session.wire.encrypted:
        raise Refused("Connexion chiffree exigee: STARTTLS d'abord", "PRIVACYREQUIRED")


async def _answer(session: Session, outcome: SignedIn | Refuse | Defer) -> bytes:
    if isinstance(outcome, SignedIn):
        _log.info("imap.signed_in", account=outcome.trace_name, by=outcome.by, peer=session.wire.peer)
        await session.sign_in(outcome)
        return responses.condition("OK", "Signed in", "CAPABILITY " + session.capability)
    _log.info("imap.refused", rule=str(outcome.rule), reason=outcome.reason, peer=session.wire.peer)
    session.count_failed_login()
    if isinstance(outcome, Defer):
        code = "UNAVAILABLE"
    else:
        code = "AUTHORIZATIONFAILED" if outcome.rule is Rule.AUTH_MAILBOX else "AUTHENTICATIONFAILED"
    raise Refused(REPLIES[outcome.rule].text, code)
