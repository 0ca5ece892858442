"""The settings of what concerns people: how they sign in, how they are found and told, what the regulator looks at."""

from pathlib import Path
from typing import Annotated, Literal

from mssante.sections import Section, doc


class Regulateur(Section, frozen=True, kw_only=True):
    """What makes mass mail, and how the regulator acts."""

    two_persons: Annotated[
        bool, doc("True: `regulateur clore` proposes, and closes when a second person says it within seven days.")
    ] = False
    same_text_hours: Annotated[
        int, doc("Hours within which one text of one sender is counted together, over all its messages.", ge=1, le=720)
    ] = 24
    same_text_app: Annotated[
        int,
        doc(
            "Most distinct recipients of one text of an applicative mailbox (APP) in that time; other mailboxes: "
            "[rules] max_recipients.",
            ge=1,
        ),
    ] = 1000
    new_recipients: Annotated[
        int,
        doc("Recipients never written to before in one day from which a mailbox's past is looked at.", ge=1),
    ] = 100
    new_recipients_app: Annotated[int, doc("The same recipients of an applicative mailbox (APP).", ge=1)] = 5000
    new_recipients_factor: Annotated[
        int, doc("Times the new recipients of its mean past day that make a mailbox's day a signalement.", ge=1)
    ] = 5
    past_days: Annotated[int, doc("Days of the past that count in that mean.", ge=1, le=365)] = 30
    memory_days: Annotated[
        int, doc("Days for which it is remembered (as keyed hashes) to whom each mailbox has written.", ge=365)
    ] = 400


class PatientNotices(Section, frozen=True, kw_only=True):
    """Telling citizens on their own e-mail address that they have new mail: not from whom, nor of what."""

    host: Annotated[str, doc("The relay that takes these notices, a mail server of the Internet. Empty: none go.")] = ""
    port: Annotated[int, doc("Port that the relay listens on.", ge=1, le=65535)] = 587
    tls: Annotated[
        Literal["starttls", "implicit", "off"], doc("How the connection is encrypted. off: on this machine only.")
    ] = "starttls"
    roots: Annotated[
        Path | None, doc("PEM file of the authorities to believe for the relay. Empty: those of this machine.")
    ] = None
    user: Annotated[str, doc("Whom to sign in as. Empty: the relay knows this host.")] = ""
    password_file: Annotated[Path | None, doc("File of that password, in its first line.")] = None
    sender: Annotated[str, doc("The address that the notices come from, and that the relay's refusals go to.")] = ""
    link: Annotated[str, doc("Where citizens read their mail, told in the notice. Empty: nothing is said.")] = ""
    every_minutes: Annotated[int, doc("Least minutes between two notices to one citizen.", ge=60, le=10_080)] = 60
    timeout_s: Annotated[int, doc("Seconds to wait for an answer of the relay.", ge=1, le=300)] = 30


class Passwords(Section, frozen=True, kw_only=True):
    """How passwords are kept (argon2id)."""

    remember_minutes: Annotated[
        int,
        doc(
            "Minutes for which a verified sign-in is remembered in memory, since clients sign in all day; 0: never.",
            ge=0,
            le=1440,
        ),
    ] = 10
    memory_kib: Annotated[int, doc("Memory of one hash in KiB.", ge=8192, le=4_194_304)] = 9_216
    passes: Annotated[int, doc("Passes of one hash over its memory.", ge=1, le=100)] = 4
    min_length: Annotated[
        int,
        doc(
            "Fewest characters of a password that is set; those in use stay. 0: any password will do, as in the "
            "development trust space that init makes.",
            ge=0,
            le=128,
        ),
    ] = 8


class ProSanteConnect(Section, frozen=True, kw_only=True):
    """Signing in with Pro Santé Connect, by XOAUTH2 and OAUTHBEARER. Off while issuer is empty."""

    issuer: Annotated[
        str,
        doc(
            "Who issues the tokens. Production: https://auth.esw.esante.gouv.fr/auth/realms/esante-wallet; sandbox: "
            "https://auth.bas.psc.esante.gouv.fr/auth/realms/esante-wallet. Empty: no tokens are taken."
        ),
    ] = ""
    discovery: Annotated[
        str, doc("URL of its discovery document. Empty: issuer + /.well-known/wallet-openid-configuration.")
    ] = ""
    check: Annotated[
        Literal["introspection", "keys"],
        doc(
            "introspection: the issuer is asked about each new token, as client_id. keys: the token is read under the "
            "issuer's published keys; a session that was ended there opens this door until its token expires."
        ),
    ] = "introspection"
    client_id: Annotated[str, doc("This operator's name at the issuer, for introspection.")] = ""
    client_secret_file: Annotated[Path | None, doc("File of client_id's secret, in its first line.")] = None
    audiences: Annotated[
        tuple[str, ...],
        doc(
            "Client ids of the software whose tokens are taken (aud or azp): any other site that people sign in to "
            'could open their mailboxes with the token it got. ["*"]: every software that the issuer knows.'
        ),
    ] = ()
    roots: Annotated[
        Path | None, doc("PEM file of the authorities to believe for its servers. Empty: those of this machine.")
    ] = None
    timeout_s: Annotated[int, doc("Seconds to wait for its answers at one sign-in.", ge=1, le=60)] = 5


class Annuaire(Section, frozen=True, kw_only=True):
    """The copy of the national directory. Sources are read by a process of their own; mail does not wait for it."""

    source: Annotated[
        Literal["", "extraction", "ldap", "fhir"],
        doc("What the copy is made from, every refresh_s while serving. Empty: by mssante annuaire import alone."),
    ] = ""
    refresh_s: Annotated[int, doc("Seconds between two readings of the source.", ge=60)] = 3600
    complete_hours: Annotated[
        int,
        doc("Hours for which changes alone are read (ldap, fhir); then all is read, to see what was erased.", ge=1),
    ] = 24
    vanish_percent: Annotated[
        int,
        doc("Largest share of the addresses that one reading may take away; above, the copy stays.", ge=0, le=100),
    ] = 10
    alarm_hours: Annotated[
        int, doc("Hours without a reading to the end after which the operator is warned; 0: never.", ge=0)
    ] = 72
    extraction_url: Annotated[
        str,
        doc(
            "Where the extraction file is fetched. Production: https://service.annuaire.sante.fr/annuaire-sante-webservices"
            "/V300/services/extraction/Extraction_Correspondance_MSSante."
        ),
    ] = ""
    fhir_url: Annotated[str, doc("Base of the FHIR API. Production: https://gateway.api.esante.gouv.fr/fhir/v2.")] = ""
    fhir_key_file: Annotated[Path | None, doc("File of the ESANTE-API-KEY, in its first line.")] = None
    fhir_per_second: Annotated[
        int, doc("Most calls a second. The limit of 17 is the application's, all machines together.", ge=1, le=17)
    ] = 17
    roots: Annotated[
        Path | None,
        doc("PEM file of the authorities to believe for the sources. Empty: those of [tls] roots."),
    ] = None


class AnnuaireLdap(Section, frozen=True, kw_only=True):
    """How the LDAP directory is asked, when it is the source. The national schema is not public: all names are here."""

    url: Annotated[str, doc("ldaps://host[:port], or ldap://host[:port] in a trial.")] = ""
    base: Annotated[str, doc("DN below which the mailboxes stand.")] = "ou=bal,o=mssante,c=fr"
    filter: Annotated[str, doc("Filter that finds the mailboxes.")] = "(objectClass=mssBal)"
    attributes: Annotated[
        tuple[str, ...],
        doc(
            "field=attribute for each field that is read; docs/annuaire.md names the fields and a sample schema. The "
            "field address is needed; modified is the attribute of the last change, for reading changes alone."
        ),
    ] = (
        "address=mail",
        "type=mssTypeBal",
        "id_pp=mssIdNational",
        "civilite=personalTitle",
        "nom=sn",
        "prenom=givenName",
        "profession=mssProfession",
        "profession_libelle=title",
        "savoir_faire_libelle=mssSavoirFaire",
        "id_structure=mssIdStructure",
        "raison_sociale=o",
        "service=ou",
        "adresse=street",
        "code_postal=postalCode",
        "ville=l",
        "liste_rouge=mssListeRouge",
        "modified=modifyTimestamp",
    )
    page_size: Annotated[int, doc("Entries asked for at once (RFC 2696).", ge=1, le=10_000)] = 1000
    bind_dn: Annotated[str, doc("Who signs in there. Empty: nobody, or the client certificate (SASL EXTERNAL).")] = ""
    password_file: Annotated[Path | None, doc("File of bind_dn's password, in its first line.")] = None
    client_certificate: Annotated[
        bool, doc("Present this operator's certificate ([tls] certificate) to the directory.")
    ] = True
    timeout_s: Annotated[int, doc("Seconds to wait for a connection, and for a page.", ge=1)] = 30
    library: Annotated[
        Literal["ldap3", "python-ldap"],
        doc("What reads: ldap3 comes along; python-ldap is some five times faster and is installed apart."),
    ] = "ldap3"


class Publication(Section, frozen=True, kw_only=True):
    """Own mailboxes told to the national directory."""

    to: Annotated[
        Literal["", "file", "fhir"],
        doc("file: CSV files in folder. fhir: the draft API of the ANS, not open yet. Empty: nothing is published."),
    ] = ""
    folder: Annotated[
        Path, doc("Where files are dropped (depot), and the answers to them are looked for (retour).")
    ] = Path("data/publication")
    layout: Annotated[
        tuple[str, ...],
        doc("Columns of a file, column title=field; docs/annuaire.md names the fields."),
    ] = (
        "Référence=reference",
        "Opération=operation",
        "Adresse BAL=address",
        "Type de BAL=type",
        "Identifiant PP=id_pp",
        "Nom=nom",
        "Prénom=prenom",
        "Code profession=profession",
        "Identifiant structure=id_structure",
        "Responsable=responsable",
        "Liste rouge=liste_rouge",
    )
    separator: Annotated[str, doc("One character between the columns.")] = "|"
    report: Annotated[
        tuple[str, ...],
        doc("Columns of an answer: column title=field, for the fields reference, result and message."),
    ] = ("Référence=reference", "Résultat=result", "Message=message")
    accepted: Annotated[str, doc("What result says of a line that was taken; anything else is a refusal.")] = "OK"
    liste_rouge: Annotated[
        Literal["withhold", "flag"],
        doc("Mailboxes in liste rouge. withhold: never sent, withdrawn if they were. flag: sent with their mark."),
    ] = "withhold"
    fhir_url: Annotated[str, doc("Base of the draft API MSSanté.")] = ""
    fhir_key_file: Annotated[Path | None, doc("File of its key, in the first line.")] = None
    interval_s: Annotated[int, doc("Seconds between two looks at what is to be told.", ge=10)] = 300
    silence_days: Annotated[int, doc("Days without an answer after which something is told again.", ge=1)] = 7


class Carnet(Section, frozen=True, kw_only=True):
    """The address books of clients: a slapd of this operator (docs/ldap/carnet.conf) fed with the copy."""

    url: Annotated[str, doc("ldap://, ldaps:// or ldapi:// of the slapd to feed. Empty: there is none.")] = ""
    base: Annotated[str, doc("Its suffix, as in its configuration.")] = "dc=carnet,dc=mssante"
    bind_dn: Annotated[str, doc("DN of who may write there, to fill it.")] = "cn=alimentation,dc=carnet,dc=mssante"
    password_file: Annotated[Path | None, doc("File of that password, in its first line.")] = None
    sign_in: Annotated[
        Literal["anonymous", "holders"],
        doc(
            "holders: every holder of a mailbox here may sign in with it; slapd gets the hashes of the passwords. "
            "anonymous: nothing of the mailboxes goes there."
        ),
    ] = "anonymous"


class LifeCycle(Section, frozen=True, kw_only=True):
    """Mailboxes that nobody opens, the journal, and the monthly figures."""

    types: Annotated[
        tuple[Literal["PER", "ORG", "APP", "PAT"], ...],
        doc("Kinds of mailboxes that are closed when nobody signs in to them (PAT: citizens')."),
    ] = ("PER", "ORG")
    warning_months: Annotated[
        tuple[int, ...], doc("Months without a session after which the holder is warned, in his mailbox; rising.")
    ] = (10, 11)
    closing_months: Annotated[
        int, doc("Months without a session after which nothing arrives any more; 0: nothing is ever done.", ge=0)
    ] = 12
    objection_days: Annotated[
        int, doc("Days from then to the closing: signing in, or mssante bal reopen, keeps the mailbox.", ge=1)
    ] = 30
    journal_days: Annotated[
        int,
        doc(
            "Days for which the journal is kept (six months are recommended for functional traces); 0: for ever.", ge=0
        ),
    ] = 183
    indicateurs_layout: Annotated[
        Path | None,
        doc("Template of mssante indicateurs, with {names} in braces. Empty: the one that comes along."),
    ] = None
