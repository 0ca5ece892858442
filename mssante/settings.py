"""The settings of one operator: every key of `mssante.toml` with its documentation, unit, bounds and default.

What must always hold:
- A setting is one field of one struct, here or in `settings_people`. What is known of it stands there and nowhere else:
  the commented sample, `docs/configuration.md` and the checks of `config` are all made from these fields.
- No secret is a setting: keys are named by path, the database password may come from the environment.
- Settings come from `config.load`: all of them agree with each other and every path is absolute.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from mssante.sections import Section, doc
from mssante.settings_people import (
    Annuaire,
    AnnuaireLdap,
    Carnet,
    LifeCycle,
    Passwords,
    PatientNotices,
    ProSanteConnect,
    Publication,
    Regulateur,
)

PASSWORD_VARIABLE = "MSSANTE_DATABASE_PASSWORD"
SERVICES = ("mx", "submission", "submissions", "imap", "imaps", "portal", "health")
"""The ports of `Listen`, in the order of `init --port-base`."""


class Operator(Section, frozen=True, kw_only=True):
    """Who this operator is."""

    installation: ClassVar[bool] = True
    name: Annotated[
        str, doc("Legal name of the operator, as the O of its certificate has it (cut at 40 letters there).")
    ]
    hostname: Annotated[
        str, doc("Name of this machine: the CN of its certificate, said in EHLO and in the greetings of SMTP and IMAP.")
    ]
    domains: Annotated[
        tuple[str, ...],
        doc("Domains of the professional mailboxes (bal) hosted here, lower case. May be empty for citizens only."),
    ] = ()
    patient_domain: Annotated[
        str,
        doc("Domain of the citizens' mailboxes when this operator hosts them (also in patient_domains); else empty."),
    ] = ""
    patient_domains: Annotated[
        tuple[str, ...],
        doc(
            "Every domain of citizens' mailboxes in the trust space: the rules for exchanges with patients hold there."
        ),
    ] = ("patient.mssante.fr",)
    postmaster: Annotated[
        str,
        doc(
            "Mailbox here that gets what is sent to postmaster@ each domain (RFC 5321 §4.5.1), unless one of that very "
            "name exists. Empty: postmaster@ the first domain, opened when there is mail for it."
        ),
    ] = ""


class Listen(Section, frozen=True, kw_only=True):
    """Where to listen. A port of 0 switches that service off."""

    installation: ClassVar[bool] = True
    host: Annotated[str, doc("Address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 or :: for all.")] = (
        "127.0.0.1"
    )
    mx: Annotated[
        int,
        doc("MX: SMTP with STARTTLS and client certificates, for other operators (25 in production).", ge=0, le=65535),
    ] = 2500
    submission: Annotated[
        int, doc("Submission with STARTTLS, for mail clients (587 in production).", ge=0, le=65535)
    ] = 2501
    submissions: Annotated[
        int, doc("Submission with implicit TLS, for mail clients (465 in production).", ge=0, le=65535)
    ] = 2502
    imap: Annotated[int, doc("IMAP with STARTTLS (143 in production).", ge=0, le=65535)] = 2503
    imaps: Annotated[int, doc("IMAP with implicit TLS (993 in production).", ge=0, le=65535)] = 2504
    portal: Annotated[
        int,
        doc(
            "Web pages over HTTPS: how mail clients set themselves up (443 in production, also under the names "
            "autoconfig.<domain> and autodiscover.<domain>).",
            ge=0,
            le=65535,
        ),
    ] = 2505
    health: Annotated[
        int, doc("Health and Prometheus metrics, plain HTTP: keep it on an inner network.", ge=0, le=65535)
    ] = 2506


class Store(Section, frozen=True, kw_only=True):
    """Where everything lasts."""

    installation: ClassVar[bool] = True
    database: Annotated[
        str,
        doc(
            "URL of the database: sqlite:///relative/path.db, or postgresql+psycopg://user@host/name with the "
            f"password in the environment variable {PASSWORD_VARIABLE}."
        ),
    ] = "sqlite:///data/mssante.db"
    contents: Annotated[str, doc("Where the encrypted message contents are kept: file:relative/folder.")] = (
        "file:data/contents"
    )
    master_key: Annotated[
        Path,
        doc("File of the key that wraps every message's key. Without it nothing can be read: keep a copy elsewhere."),
    ] = Path("pki/master.key")


class Tls(Section, frozen=True, kw_only=True):
    """This operator's certificate, and whom to believe. The files are read again when they change, and at SIGHUP."""

    installation: ClassVar[bool] = True
    certificate: Annotated[
        Path, doc("PEM file of this operator's certificate followed by its chain (server and client use).")
    ] = Path("pki/operator.pem")
    key: Annotated[Path, doc("PEM file of its private key, readable by the service alone.")] = Path("pki/operator.key")
    roots: Annotated[Path, doc("PEM file of the authorities to believe (IGC-Santé in production).")] = Path(
        "pki/ca.pem"
    )
    crl: Annotated[
        Path | None,
        doc(
            "PEM file of their revocation lists, kept fresh from crl_urls. Empty: revocation is not checked (not for "
            "production)."
        ),
    ] = Path("pki/crl.pem")
    crl_urls: Annotated[
        tuple[str, ...],
        doc(
            "Where revocation lists are fetched, http or https (they are signed). Empty: the distribution points that "
            "the certificates in roots and certificate name."
        ),
    ] = ()
    crl_refresh_s: Annotated[
        int, doc("Seconds between two looks for newer revocation lists; 0: they are never fetched.", ge=0)
    ] = 3600
    crl_alarm_hours: Annotated[
        int, doc("Hours before a revocation list expires at which the operator is warned.", ge=0)
    ] = 48
    client_certificates: Annotated[
        bool,
        doc(
            "Ask users' software for a certificate (submission, IMAP), which a mailbox of type APP may be opened with. "
            "False where mail clients then bother people with the certificates of their cards."
        ),
    ] = True
    crl_required: Annotated[
        bool,
        doc(
            "True: a missing or expired revocation list refuses every certificate of its authority. False: they are "
            "accepted then, each with a line in the log."
        ),
    ] = True


class EspaceConfiance(Section, frozen=True, kw_only=True):
    """The trust space: who may exchange mail with us."""

    installation: ClassVar[bool] = True
    liste: Annotated[
        Path, doc("The signed white list in force. Checked at each change; a faulty or older one is not taken.")
    ] = Path("espace/listeblanche.xml")
    url: Annotated[
        str,
        doc(
            "Where the white list is fetched, https under [tls] roots. Production: "
            "https://espacedeconfiance.mssante.fr/listeblanchemssante.xml. Empty: it is imported by hand."
        ),
    ] = ""
    refresh_s: Annotated[int, doc("Seconds between two looks at the url; a newer list counts at once.", ge=1)] = 3600
    alarm_hours: Annotated[
        int,
        doc("Hours without a confirmation of the list by the url (or an import) to a warning; 0: never.", ge=0),
    ] = 24
    hard_stop_days: Annotated[
        int,
        doc(
            "Days (of 24 hours) without such a confirmation after which no mail is exchanged with other operators, "
            "until the list is confirmed again; 0: never.",
            ge=0,
        ),
    ] = 7
    signer: Annotated[Path, doc("PEM file of the certificate that signs the white list.")] = Path("espace/signer.pem")
    signer_ca: Annotated[
        Path | None,
        doc(
            "PEM file of the authority that issues the signer's certificate, and of those above it. When named, any "
            "certificate of that authority for signing whose name is signer_cn may sign, and signer is not read."
        ),
    ] = None
    signer_cn: Annotated[str, doc("With signer_ca: the exact common name (CN) of who signs the white list.")] = (
        "alb.mssante.fr"
    )
    routes: Annotated[
        Path | None,
        doc('TOML file of static routes (domain = "host:port"), asked before the DNS. Empty: the DNS alone.'),
    ] = None


class Dns(Section, frozen=True, kw_only=True):
    """The name server that is asked for MX, addresses and DKIM keys."""

    installation: ClassVar[bool] = True
    server: Annotated[str, doc("host:port of the name server. Empty: the one of the system.")] = ""


class Rules(Section, frozen=True, kw_only=True):
    """What the charter leaves to an operator."""

    max_recipients: Annotated[
        int,
        doc("Most distinct recipients of one message (the charter allows 40); above, nobody gets it.", ge=1, le=40),
    ] = 40
    fin_exact: Annotated[
        bool,
        doc(
            'True: only the subject "[FIN]" to the letter ends an exchange. False: any subject with it, in any case, '
            "also written [ fin ] or [F I N]."
        ),
    ] = False
    fin_header: Annotated[
        Literal["exchange", "thread"],
        doc(
            "What the header X-MSS-MES: FIN ends. exchange: the whole exchange, as the subject [FIN] does. thread: the "
            "replies to that message and its thread; the patient may begin another."
        ),
    ] = "exchange"
    exchange_guard: Annotated[
        Literal["strict", "soft", "off"],
        doc(
            "A message from a citizen of another operator where no exchange is known here. strict: refused, as that of "
            "a citizen hosted here always is. soft: taken, with the keyword $HorsEchange and a line in the journal, as "
            "for mailboxes that came from another operator. off: taken."
        ),
    ] = "strict"
    suspended_keeps_mail: Annotated[
        bool, doc("True: a suspended mailbox still receives mail, to be read when it reopens. False: it refuses mail.")
    ] = True
    header_from: Annotated[
        Literal["strict", "off"],
        doc(
            "strict: From of what other operators send must be of the envelope sender's domain, or of one that the "
            "white list names with their certificate. off: only the envelope is judged, but for patients and a From "
            "that cannot be read."
        ),
    ] = "strict"
    max_received: Annotated[
        int,
        doc("Most Received fields of a message: more are a loop, as recipients here are few hops off.", ge=5),
    ] = 30
    patient_documents: Annotated[
        Literal["refuse", "warn", "off"],
        doc(
            "refuse: a message to a patient that carries an IHE_XDM archive or a CDA document of another patient, or "
            "an archive or a document that cannot be read, is refused, and so is a second patient as recipient. warn: "
            "such documents go through with a line in the log. off: documents are not looked at."
        ),
    ] = "refuse"


class Smtp(Section, frozen=True, kw_only=True):
    """Limits of the SMTP service (MX and submission)."""

    max_size: Annotated[int, doc("Largest message in bytes as it travels; base64 takes a third of it.", ge=65536)] = (
        36_700_160
    )
    max_size_patient: Annotated[int, doc("Largest message in bytes to a citizen's mailbox.", ge=65536)] = 26_214_400
    max_line: Annotated[
        int, doc("Longest line of a message in bytes with its end (RFC 5321 §4.5.3.1.6 says 1000).", ge=1000, le=65536)
    ] = 1000
    command_timeout_s: Annotated[int, doc("Seconds to wait for the next command (RFC 5321 §4.5.3.2.7).", ge=1)] = 300
    data_timeout_s: Annotated[int, doc("Seconds to wait for the next piece of a message.", ge=1)] = 180
    data_total_s: Annotated[int, doc("Seconds in which a whole message must come, whatever its size.", ge=60)] = 3600
    min_rate: Annotated[
        int, doc("Fewest bytes a second of a message from its second minute on; slower senders get a 421.", ge=1)
    ] = 512
    max_idle_commands: Annotated[
        int, doc("Commands without mail (NOOP, RSET, EHLO, ...) at once, between two messages; then a 421.", ge=20)
    ] = 200
    connections: Annotated[int, doc("Most connections at once, each port apart.", ge=1)] = 2000
    connections_per_ip: Annotated[int, doc("Most connections at once from one address, each port apart.", ge=1)] = 500


class Imap(Section, frozen=True, kw_only=True):
    """Limits of the IMAP service."""

    max_append: Annotated[int, doc("Largest message in bytes that APPEND takes.", ge=65536)] = 36_700_160
    max_line: Annotated[int, doc("Longest line of a command in bytes (before sign-in: 12288).", ge=1000)] = 65_536
    max_command: Annotated[
        int, doc("Largest command in bytes, literals of messages aside (before sign-in: 12288).", ge=1000)
    ] = 1_048_576
    failed_logins: Annotated[int, doc("Failed attempts to sign in after which a connection ends.", ge=1)] = 5
    bad_commands: Annotated[int, doc("Commands answered with BAD after which a connection ends.", ge=1)] = 20
    login_timeout_s: Annotated[int, doc("Seconds in which a client must sign in.", ge=1)] = 60
    idle_timeout_s: Annotated[
        int, doc("Seconds of silence after which a signed-in client is let go (RFC 3501 §5.4: at least 1800).", ge=1)
    ] = 1860
    connections: Annotated[int, doc("Most connections at once, on both ports.", ge=1)] = 20_000
    connections_per_ip: Annotated[
        int, doc("Most connections at once from one address, on both ports: an establishment comes from one.", ge=1)
    ] = 10_000
    notify_mailboxes: Annotated[
        int, doc("Most folders that one session watches with NOTIFY (RFC 5465 §5.8), lent ones included.", ge=1)
    ] = 2000
    search: Annotated[
        Literal["folded", "exact"],
        doc(
            "How SEARCH compares texts, always as substrings: folded as people type (e finds é, oe finds œ, any white "
            "space is one space), or exact but for case (RFC 9051 §6.4.4), which is slower."
        ),
    ] = "folded"
    search_pdf: Annotated[
        bool, doc("SEARCH reads PDF files too, in a process with limits. Needs the extra: pip install mssante[pdf].")
    ] = False


class Queue(Section, frozen=True, kw_only=True):
    """Sending to other operators."""

    schedule_s: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        doc("Seconds between the attempts to deliver; the last one is repeated."),
    ] = (60, 300, 900, 1800, 3600, 7200, 14_400)
    lifetime_hours: Annotated[
        int, doc("Hours after which the sender is told that his message was not delivered (RFC 5321 §4.5.4.1).", ge=1)
    ] = 120
    trace_days: Annotated[
        int, doc("Days for which finished deliveries stay in `queue show` (ECO.4.1.2 recommends six months).", ge=1)
    ] = 183
    lease_s: Annotated[
        int,
        doc(
            "Seconds after which the mail that a process had in hand when it died or lost its database may be sent by "
            "another one; the same machine's next process takes it at once.",
            ge=3,
        ),
    ] = 300
    connections: Annotated[int, doc("Most outbound connections at once.", ge=1)] = 50
    connections_per_destination: Annotated[int, doc("Most outbound connections at once to one host.", ge=1)] = 4
    connect_timeout_s: Annotated[int, doc("Seconds to wait for a connection and its TLS.", ge=1)] = 30
    reply_timeout_s: Annotated[int, doc("Seconds to wait for the answer to a command (RFC 5321 §4.5.3.2).", ge=1)] = 300
    data_timeout_s: Annotated[
        int, doc("Seconds to wait for the answer to a whole message (RFC 5321 §4.5.3.2.6).", ge=1)
    ] = 600


class Quota(Section, frozen=True, kw_only=True):
    """Mailboxes with a limit (mssante bal quota)."""

    warn_percent: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=99)], ...],
        doc("How full a mailbox is when its holder is told, by a message in it, once for each rise. Empty: never."),
    ] = (80, 95)
    look_minutes: Annotated[int, doc("Minutes between two looks at all mailboxes with a limit.", ge=1)] = 5


class Dkim(Section, frozen=True, kw_only=True):
    """Signatures over messages (RFC 6376)."""

    sign: Annotated[bool, doc("Sign what leaves for other operators.")] = True
    verify: Annotated[bool, doc("Verify what other operators send, and note the result in Authentication-Results.")] = (
        True
    )
    on_failure: Annotated[
        Literal["note", "refuse"],
        doc(
            "note: a signature that fails is noted. refuse: a message with signatures of which none passes is refused, "
            "or put off while the DNS does not give the key; one without signatures is still taken."
        ),
    ] = "note"
    selector: Annotated[str, doc("Name in the DNS of the key that signs: <selector>._domainkey.<domain>.")] = "mssante"
    key: Annotated[Path, doc("PEM file of the private key that signs, RSA or Ed25519.")] = Path("pki/dkim.key")
    other_keys: Annotated[
        tuple[Path, ...],
        doc(
            "Private keys that do not sign and must be in the DNS all the same: the next one, and the last one while "
            "mail signed with it travels. The file's name is the selector: pki/2026b.key."
        ),
    ] = ()


class Antivirus(Section, frozen=True, kw_only=True):
    """The scan of every message by clamd, before it is stored."""

    socket: Annotated[
        str,
        doc("clamd's unix socket (/run/clamav/clamd.ctl) or host:port on an inner network. Empty: nothing is scanned."),
    ] = ""
    on_unavailable: Annotated[
        Literal["defer", "accept"],
        doc("When clamd is away or gives no answer. defer: senders come back later. accept: mail is taken unscanned."),
    ] = "defer"
    timeout_s: Annotated[int, doc("Seconds for one scan, its turn included; 25 MB take about 5.", ge=1, le=500)] = 120
    scans: Annotated[int, doc("Most scans at once, below MaxThreads in clamd.conf.", ge=1, le=1000)] = 8


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that `mssante.toml` says. `file` is where it was read from."""

    operator: Operator
    listen: Listen = msgspec.field(default_factory=Listen)
    store: Store = msgspec.field(default_factory=Store)
    tls: Tls = msgspec.field(default_factory=Tls)
    espace_confiance: EspaceConfiance = msgspec.field(default_factory=EspaceConfiance)
    dns: Dns = msgspec.field(default_factory=Dns)
    rules: Rules = msgspec.field(default_factory=Rules)
    regulateur: Regulateur = msgspec.field(default_factory=Regulateur)
    smtp: Smtp = msgspec.field(default_factory=Smtp)
    imap: Imap = msgspec.field(default_factory=Imap)
    queue: Queue = msgspec.field(default_factory=Queue)
    quota: Quota = msgspec.field(default_factory=Quota)
    dkim: Dkim = msgspec.field(default_factory=Dkim)
    antivirus: Antivirus = msgspec.field(default_factory=Antivirus)
    patient_notices: PatientNotices = msgspec.field(default_factory=PatientNotices)
    passwords: Passwords = msgspec.field(default_factory=Passwords)
    pro_sante_connect: ProSanteConnect = msgspec.field(default_factory=ProSanteConnect)
    annuaire: Annuaire = msgspec.field(default_factory=Annuaire)
    annuaire_ldap: AnnuaireLdap = msgspec.field(default_factory=AnnuaireLdap)
    publication: Publication = msgspec.field(default_factory=Publication)
    carnet: Carnet = msgspec.field(default_factory=Carnet)
    life_cycle: LifeCycle = msgspec.field(default_factory=LifeCycle)
    file: Path = Path("mssante.toml")

    @property
    def directory(self) -> Path:
        """Where the relative paths and the relative store URLs of the file start."""
        return self.file.parent

    @property
    def postmaster(self) -> str:
        """The mailbox that mail for a postmaster goes to."""
        return self.operator.postmaster or f"postmaster@{self.own_domains[0]}"

    @property
    def own_domains(self) -> tuple[str, ...]:
        """Every domain whose mailboxes are here, professionals' and citizens'."""
        hosted = (self.operator.patient_domain,) if self.operator.patient_domain else ()
        return (*self.operator.domains, *hosted)
