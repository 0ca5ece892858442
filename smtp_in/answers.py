"""The lines that the server says by itself; what the rules decide is worded in `mssante.domain.replies`.

What must always hold: a whole line each, CRLF included, ASCII, with an enhanced code wherever RFC 2034 §4 wants one;
French, what is wrong and then what to do; nothing that the peer sent, nothing of an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mssante.domain.replies import OK as REPLY_OK
from mssante.domain.replies import REPLIES, reply_for
from mssante.domain.verdict import Defer, Refuse, Rule

REFUSALS: Final[Mapping[Rule, bytes]] = MappingProxyType(
    {rule: f"{reply}\r\n".encode("ascii") for rule, reply in REPLIES.items()}
)


def refusal(verdict: Refuse | Defer) -> bytes:
    """The line for a verdict that is not a yes."""
    if isinstance(verdict, Refuse) and verdict.named:
        return f"{reply_for(verdict)}\r\n".encode("ascii")
    return REFUSALS[verdict.rule]


OK: Final = f"{REPLY_OK}\r\n".encode("ascii")

SENDER_OK: Final = b"250 2.1.0 Expediteur accepte\r\n"
RECIPIENT_OK: Final = b"250 2.1.5 Destinataire accepte\r\n"
BYE: Final = b"221 2.0.0 Au revoir\r\n"
GO_AHEAD: Final = b"354 Envoyez le message, puis une ligne faite d'un seul point\r\n"
CHUNK_OK: Final = b"250 2.0.0 Bloc recu\r\n"
START_TLS: Final = b"220 2.0.0 Pret pour TLS\r\n"
SIGNED_IN: Final = b"235 2.7.0 Authentification reussie\r\n"
CANNOT_VERIFY: Final = b"252 2.5.0 Verification impossible, mais le message sera essaye ; consultez l'annuaire\r\n"
HELP: Final = b"214 2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT ; voyez RFC 5321\r\n"

LINE_TOO_LONG: Final = b"500 5.5.2 Ligne de commande trop longue ; raccourcissez-la\r\n"
AUTH_LINE_TOO_LONG: Final = b"500 5.5.6 Ligne d'authentification trop longue ; 12288 octets au plus\r\n"
AUTH_CANCELLED: Final = b"501 5.7.0 Authentification abandonnee par le client\r\n"
AUTH_MALFORMED: Final = b"501 5.5.2 Reponse d'authentification malformee ; base64 attendu\r\n"
AUTH_MECHANISM: Final = b"504 5.5.4 Mecanisme inconnu ou non offert ; voyez la reponse a EHLO\r\n"
FAULT: Final = b"421 4.3.0 Erreur interne ; reconnectez-vous dans quelques minutes\r\n"
AFTER_STARTTLS: Final = b"554 5.5.0 Rien ne doit suivre STARTTLS avant TLS ; reconnectez-vous\r\n"
NEEDS_SMTPUTF8: Final = b"553 5.6.7 Adresse non ASCII ; ajoutez SMTPUTF8 a MAIL\r\n"
