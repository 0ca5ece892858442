"""The words of delivery notices, French and English.

What must always hold: every outcome has its words in both languages; the explanation of a status is looked up by its
exact code (RFC 3463), then by subject, then by class, so that there always is one. Texts speak to the person who wrote
the message: what happened, then what to do.
"""

from dataclasses import dataclass
from typing import Final

from mssante.domain.dsn import Outcome

SUBJECTS: Final = {
    Outcome.FAILED: "Message non remis",
    Outcome.DELAYED: "Message retardé",
    Outcome.DELIVERED: "Message remis",
    Outcome.RELAYED: "Message transmis",
    Outcome.HANDED_ON: "Message transmis",
}

INTRODUCTIONS: Final = {
    "fr": {
        Outcome.FAILED: "Votre message n'a pas pu être remis à tous ses destinataires.",
        Outcome.DELAYED: "Votre message n'a pas encore pu être remis. Nous essayons encore, ne le renvoyez pas.",
        Outcome.DELIVERED: "Votre message a été remis.",
        Outcome.RELAYED: "Votre message a été transmis à l'opérateur du destinataire.",
        Outcome.HANDED_ON: "Votre message a été transmis à l'opérateur du destinataire.",
    },
    "en": {
        Outcome.FAILED: "Your message could not be delivered to all of its recipients.",
        Outcome.DELAYED: "Your message could not be delivered yet. We keep trying, do not send it again.",
        Outcome.DELIVERED: "Your message was delivered.",
        Outcome.RELAYED: "Your message was handed to the recipient's operator.",
        Outcome.HANDED_ON: "Your message was handed to the recipient's operator.",
    },
}


@dataclass(frozen=True, slots=True)
class Labels:
    """Words before the facts of a notice."""

    message: str
    no_subject: str
    received: str
    advice: str
    until: str
    answer: str


LABELS: Final = {
    "fr": Labels(
        message="Objet du message :",
        no_subject="(sans objet)",
        received="Reçu par nous le :",
        advice="Que faire :",
        until="Nous essayons jusqu'au :",
        answer="Réponse du serveur",
    ),
    "en": Labels(
        message="Subject of the message:",
        no_subject="(no subject)",
        received="Received by us on:",
        advice="What to do:",
        until="We keep trying until:",
        answer="Answer of the server",
    ),
}

CLOSINGS: Final = {
    "fr": "Cet avis est envoyé automatiquement par {host}. Seul l'en-tête de votre message y est joint.",
    "en": "This notice was sent automatically by {host}. Only the header of your message is attached.",
}

_Explanations = dict[str, tuple[str, str]]

_SUCCESS: Final[dict[str, dict[Outcome, tuple[str, str]]]] = {
    "fr": {
        Outcome.DELIVERED: ("Le message est dans la boîte aux lettres du destinataire.", ""),
        Outcome.RELAYED: (
            "Le serveur du destinataire a pris le message.",
            "Il ne confirme pas la remise : demandez une réponse si le message est important.",
        ),
        Outcome.HANDED_ON: (
            "Le serveur du destinataire a pris le message.",
            "C'est lui qui vous dira si le message a été remis.",
        ),
    },
    "en": {
        Outcome.DELIVERED: ("The message is in the recipient's mailbox.", ""),
        Outcome.RELAYED: (
            "The recipient's server took the message.",
            "It does not confirm delivery: ask for an answer when the message matters.",
        ),
        Outcome.HANDED_ON: (
            "The recipient's server took the message.",
            "It will tell you whether the message was delivered.",
        ),
    },
}

_FR: Final[_Explanations] = {
    "1.1": (
        "Cette boîte aux lettres n'existe pas.",
        "Vérifiez l'adresse dans l'annuaire santé, puis renvoyez le message.",
    ),
    "1.2": (
        "Le domaine de cette adresse n'existe pas ou n'a pas de serveur.",
        "Vérifiez ce qui suit le signe @ de l'adresse.",
    ),
    "1.3": ("L'adresse n'est pas valide.", "Vérifiez l'adresse ; pour un patient, vérifiez son INS."),
    "2": ("La boîte aux lettres n'accepte pas ce message.", "Joignez le destinataire par un autre moyen."),
    "2.1": (
        "Cette boîte aux lettres est fermée.",
        "Cherchez une autre adresse de ce destinataire dans l'annuaire santé.",
    ),
    "2.2": ("La boîte aux lettres du destinataire est pleine.", "Prévenez-le par un autre moyen."),
    "3": ("Le serveur du destinataire a un défaut.", "Renvoyez le message plus tard."),
    "3.4": ("Le message est trop volumineux pour le destinataire.", "Réduisez ou séparez les pièces jointes."),
    "4": ("Le serveur du destinataire ne peut pas être joint.", "Renvoyez le message plus tard."),
    "4.4": (
        "Aucun serveur n'est connu pour ce domaine.",
        "Vérifiez ce qui suit le signe @ de l'adresse.",
    ),
    "4.7": (
        "Le message n'a pas pu être remis dans le délai prévu.",
        "Joignez le destinataire par un autre moyen, puis renvoyez le message.",
    ),
    "5.3": ("Le message a trop de destinataires.", "Envoyez-le à 40 destinataires au plus."),
    "6": ("Le contenu du message n'est pas accepté.", "Vérifiez le message et ses pièces jointes."),
    "7": (
        "Le message est refusé pour une raison de sécurité.",
        "Voyez la réponse du serveur, ou demandez à votre opérateur.",
    ),
    "7.1": (
        "Ce message n'est pas permis par les règles de MSSanté ou du destinataire.",
        "Voyez la réponse du serveur : adresse hors de l'espace de confiance, ou échange terminé.",
    ),
    "": ("Le serveur du destinataire a refusé le message.", "Voyez la réponse du serveur."),
}

_EN: Final[_Explanations] = {
    "1.1": ("This mailbox does not exist.", "Check the address in the national directory, then send again."),
    "1.2": (
        "The domain of this address does not exist or has no server.",
        "Check what follows the @ sign of the address.",
    ),
    "1.3": ("The address is not valid.", "Check the address; for a patient, check the INS."),
    "2": ("The mailbox does not accept this message.", "Reach the recipient in another way."),
    "2.1": ("This mailbox is closed.", "Look for another address of this recipient in the national directory."),
    "2.2": ("The recipient's mailbox is full.", "Tell the recipient in another way."),
    "3": ("The recipient's server has a fault.", "Send the message again later."),
    "3.4": ("The message is too large for the recipient.", "Make the attachments smaller or send them apart."),
    "4": ("The recipient's server cannot be reached.", "Send the message again later."),
    "4.4": ("No server is known for this domain.", "Check what follows the @ sign of the address."),
    "4.7": (
        "The message could not be delivered within the time allowed.",
        "Reach the recipient in another way, then send the message again.",
    ),
    "5.3": ("The message has too many recipients.", "Send it to 40 recipients at most."),
    "6": ("The content of the message is not accepted.", "Check the message and its attachments."),
    "7": ("The message is refused for a reason of security.", "See the server's answer, or ask your operator."),
    "7.1": (
        "This message is not allowed by the rules of MSSanté or of the recipient.",
        "See the server's answer: address outside the trust space, or exchange ended.",
    ),
    "": ("The recipient's server refused the message.", "See the server's answer."),
}

_FAILURES: Final = {"fr": _FR, "en": _EN}
_WAITING: Final = {
    "fr": "Rien pour l'instant : un nouvel avis vous dira si le message n'a pas pu être remis.",
    "en": "Nothing for now: another notice will tell you if the message could not be delivered.",
}


def explanation(language: str, outcome: Outcome, status: str) -> tuple[str, str]:
    """What happened and what to do, which may be empty. `language` is ``fr`` or ``en``; `status` of RFC 3463."""
    if outcome in _SUCCESS[language]:
        return _SUCCESS[language][outcome]
    detail = status.partition(".")[2]
    texts = _FAILURES[language]
    cause, advice = texts.get(detail) or texts.get(detail.partition(".")[0]) or texts[""]
    return (cause, _WAITING[language]) if outcome is Outcome.DELAYED else (cause, advice)
