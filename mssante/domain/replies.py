"""The words for each refusal: one table, `Rule` → SMTP reply.

What must always hold: every `Rule` has its reply; the text is French, printable ASCII, says what is wrong and then
what to do, and never carries anything of the account or an exception, and of the message at most the name of the
document at fault, after the words of the table (RFC 5321 §4.2; enhanced codes of RFC 3463 and RFC 2034). The codes
are those of the operator's published table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from mssante.domain.verdict import Accept, Refuse, Rule, Verdict


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply. ``str(reply)`` is its line without the line end."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


OK: Final = Reply(250, "2.0.0", "Accepte")

REPLIES: Final[Mapping[Rule, Reply]] = MappingProxyType(
    {
        Rule.TLS_REQUIRED: Reply(530, "5.7.0", "Connexion non chiffree ; envoyez d'abord STARTTLS"),
        Rule.AUTH_REQUIRED: Reply(530, "5.7.0", "Authentification requise ; envoyez d'abord AUTH"),
        Rule.AUTH_REFUSED: Reply(
            535, "5.7.8", "Identifiant ou mot de passe refuse ; verifiez-les ou contactez votre operateur"
        ),
        Rule.AUTH_MAILBOX: Reply(
            535, "5.7.8", "Cette identite n'ouvre pas cette boite ; verifiez l'adresse ou contactez votre operateur"
        ),
        Rule.AUTH_UNAVAILABLE: Reply(454, "4.7.0", "Authentification indisponible ; reessayez dans quelques minutes"),
        Rule.AUTH_TOO_MANY: Reply(421, "4.7.0", "Trop d'essais d'authentification ; reconnectez-vous plus tard"),
        Rule.SESSION_CLOSED: Reply(421, "4.7.0", "Compte clos ou acces change ; reconnectez-vous ou voyez l'operateur"),
        Rule.SESSION_TIMEOUT: Reply(421, "4.4.2", "Delai d'attente depasse ; reconnectez-vous"),
        Rule.SESSION_TOO_MANY: Reply(421, "4.7.0", "Trop de connexions ; reessayez plus tard"),
        Rule.SESSION_TOO_MANY_ERRORS: Reply(421, "4.7.0", "Trop d'erreurs ; corrigez puis reconnectez-vous"),
        Rule.SESSION_TOO_MANY_COMMANDS: Reply(421, "4.7.0", "Trop de commandes sans message ; reconnectez-vous"),
        Rule.SERVER_STOPPING: Reply(421, "4.3.2", "Arret du service ; reconnectez-vous dans quelques minutes"),
        Rule.COMMAND_MALFORMED: Reply(500, "5.5.2", "Ligne de commande malformee ; terminez-la par CRLF, sans NUL"),
        Rule.COMMAND_UNKNOWN: Reply(502, "5.5.1", "Commande inconnue ; voyez la reponse a EHLO"),
        Rule.COMMAND_ARGUMENT: Reply(501, "5.5.4", "Argument malforme ; corrigez la commande"),
        Rule.COMMAND_PARAMETER: Reply(555, "5.5.4", "Parametre inconnu ou malforme ; voyez la reponse a EHLO"),
        Rule.COMMAND_ORDER: Reply(503, "5.5.1", "Commande hors de sa place ; suivez l'ordre EHLO, MAIL, RCPT, DATA"),
        Rule.SENDER_MALFORMED: Reply(501, "5.1.7", "Adresse d'expediteur malformee ; corrigez-la"),
        Rule.SENDER_NOT_OWNER: Reply(
            550, "5.7.1", "L'expediteur n'est pas une adresse de votre compte ; ecrivez depuis votre propre adresse"
        ),
        Rule.SENDER_HEADER_FROM: Reply(
            550, "5.7.1", "Le champ From ne correspond pas a l'expediteur ; mettez-y l'adresse de l'expediteur"
        ),
        Rule.ESPACE_CONFIANCE_SENDER: Reply(
            550,
            "5.7.1",
            "Domaine d'expediteur absent de la liste blanche MSSante pour ce certificat ; verifiez votre inscription",
        ),
        Rule.ESPACE_CONFIANCE_NULL_SENDER: Reply(
            550, "5.7.1", "Certificat absent de la liste blanche MSSante ; verifiez votre inscription"
        ),
        Rule.ESPACE_CONFIANCE_RECIPIENT: Reply(
            550,
            "5.7.1",
            "Domaine du destinataire hors de l'espace de confiance MSSante ; utilisez une adresse MSSante",
        ),
        Rule.ESPACE_CONFIANCE_UNAVAILABLE: Reply(
            451, "4.7.0", "Liste blanche MSSante indisponible ; reessayez plus tard"
        ),
        Rule.RECIPIENT_MALFORMED: Reply(501, "5.1.3", "Adresse de destinataire malformee ; corrigez-la"),
        Rule.RECIPIENT_NOT_LOCAL: Reply(
            550, "5.7.1", "Domaine non heberge ici, pas de relais ; ecrivez a son propre operateur"
        ),
        Rule.RECIPIENT_UNKNOWN: Reply(550, "5.1.1", "Boite aux lettres inconnue ; verifiez l'adresse dans l'annuaire"),
        Rule.RECIPIENT_PATIENT_UNKNOWN: Reply(
            550, "5.1.1", "Patient sans messagerie Mon espace sante ; contactez-le par un autre moyen"
        ),
        Rule.RECIPIENT_INS: Reply(
            550, "5.1.3", "Matricule INS malforme ; ecrivez les 15 caracteres de l'INS qualifiee"
        ),
        Rule.RECIPIENT_INS_KEY: Reply(
            550, "5.1.3", "Cle du matricule INS fausse ; verifiez les 15 caracteres de l'INS qualifiee"
        ),
        Rule.RECIPIENT_PATIENT_OPPOSED: Reply(
            550, "5.7.1", "Le patient s'oppose a la messagerie ; contactez-le par un autre moyen"
        ),
        Rule.RECIPIENT_PATIENT_CLOSED: Reply(
            550, "5.2.1", "Messagerie close a la demande du patient ; contactez-le par un autre moyen"
        ),
        Rule.RECIPIENT_PATIENT_DECEASED: Reply(
            550, "5.1.6", "Messagerie d'un patient decede ; mettez son dossier a jour, n'ecrivez plus"
        ),
        Rule.RECIPIENT_CLOSED: Reply(
            550, "5.2.1", "Boite aux lettres close ; cherchez une autre adresse dans l'annuaire"
        ),
        Rule.RECIPIENT_SUSPENDED: Reply(450, "4.2.1", "Boite aux lettres suspendue ; reessayez plus tard"),
        Rule.RECIPIENT_FULL: Reply(452, "4.2.2", "Boite aux lettres pleine ; reessayez plus tard"),
        Rule.RECIPIENTS_TOO_MANY: Reply(
            550, "5.5.3", "Trop de destinataires, message refuse pour tous ; l'envoi en nombre est proscrit"
        ),
        Rule.RECIPIENTS_TOO_MANY_MESSAGE: Reply(
            554, "5.5.3", "Trop de destinataires, aucun ne recoit ce message ; reduisez leur nombre"
        ),
        Rule.RECIPIENTS_NONE: Reply(554, "5.5.1", "Aucun destinataire accepte ; corrigez les adresses"),
        Rule.RECIPIENTS_SPLIT: Reply(
            554, "5.5.3", "Ce message est deja parti vers trop de destinataires ; l'envoi en nombre est proscrit"
        ),
        Rule.RECIPIENTS_ONE_USAGER: Reply(550, "5.7.1", "Un seul usager par message ; ecrivez a chacun separement"),
        Rule.EXCHANGE_NOT_OPENED: Reply(
            550, "5.7.1", "Ce professionnel ne vous a pas ecrit ; attendez qu'il ouvre l'echange"
        ),
        Rule.EXCHANGE_ENDED: Reply(
            550, "5.7.1", "Le professionnel a mis fin a l'echange ; attendez un nouveau message de sa part"
        ),
        Rule.EXCHANGE_THREAD_ENDED: Reply(
            550, "5.7.1", "Un professionnel a mis fin a ce fil ; ecrivez-lui un nouveau message, ou ne lui repondez pas"
        ),
        Rule.EXCHANGE_PATIENT_TO_PATIENT: Reply(
            550, "5.7.1", "Un patient n'ecrit pas a un autre patient ; ecrivez a un professionnel qui vous a ecrit"
        ),
        Rule.MESSAGE_TOO_LARGE: Reply(552, "5.3.4", "Message trop volumineux ; reduisez les pieces jointes"),
        Rule.MESSAGE_CONTENT: Reply(
            550, "5.6.0", "Contenu malforme, CR ou LF isole, NUL ou ligne trop longue ; corrigez le message"
        ),
        Rule.MESSAGE_LOOP: Reply(554, "5.4.6", "Le message tourne en rond ; verifiez les renvois automatiques"),
        Rule.MESSAGE_VIRUS: Reply(550, "5.7.1", "Contenu malveillant detecte ; analysez votre poste et vos fichiers"),
        Rule.REPORT_WITHOUT_MESSAGE: Reply(
            550, "5.6.0", "Signalement sans message ; transferez le message a signaler en piece jointe"
        ),
        Rule.DOCUMENT_OTHER_PATIENT: Reply(
            550, "5.7.1", "Document d'un autre patient que le destinataire ; verifiez l'un et l'autre"
        ),
        Rule.DOCUMENT_UNREADABLE: Reply(
            550, "5.6.0", "Document dont le patient ne peut etre verifie ; renvoyez-le en IHE_XDM lisible ou en PDF"
        ),
        Rule.DKIM_FAILED: Reply(550, "5.7.20", "Signature DKIM non valide ; verifiez-la et la cle du domaine"),
        Rule.DKIM_UNKNOWN: Reply(451, "4.4.3", "Cle DKIM impossible a obtenir du DNS ; reessayez plus tard"),
        Rule.ANTIVIRUS_UNAVAILABLE: Reply(451, "4.7.1", "Analyse antivirus indisponible ; reessayez plus tard"),
        Rule.STORE_CONTENTS: Reply(452, "4.3.1", "Espace de stockage insuffisant ; reessayez plus tard"),
        Rule.STORE_DATABASE: Reply(451, "4.3.0", "Service momentanement indisponible ; reessayez plus tard"),
        Rule.INTERNAL_FAULT: Reply(451, "4.3.0", "Erreur interne, rien n'est accepte ; reessayez plus tard"),
    }
)


def reply_for(verdict: Verdict) -> Reply:
    """The public answer to a verdict; the private reason stays behind."""
    if isinstance(verdict, Accept):
        return OK
    reply = REPLIES[verdict.rule]
    named = verdict.named if isinstance(verdict, Refuse) else ""
    return replace(reply, text=f"{reply.text} : {named}") if named else reply
