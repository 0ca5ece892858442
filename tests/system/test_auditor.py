"""The auditor's sheet: who may exchange mail with us, and who not, in both directions and in both versions of TLS.

The ANS's tool (MOTCO1, facts 1.5) plays the seven first cases with domains that the white list names for it. Each row
says what is shown, what the list says of its domain, what must happen when it writes to us, and when we write to it.
"""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.smtp_out.peer import Session
from tests.system.auditor import HANDSHAKE, OU, PASSED, VERSIONS, Shown, UnderTest, make_world, refusing

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_LISTED = "550 5.7.1 at MAIL"
UNLISTED = "not_listed: "
OWN = ""  # the list names the very certificate that is shown


@dataclass(frozen=True)
class Case:
    name: str
    shown: Shown
    receive: str
    deliver: str
    """How the queue's note begins."""
    listed: tuple[str, ...] = field(default=(OWN,))

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text or self.shown.dn_text for text in self.listed)


def dn(cn: str = "audit.example", o: str = "OPERATEUR D AUDIT", rest: str = "ST=Paris (75),C=FR") -> str:
    return f"CN={cn},OU={OU},O={o},{rest}"


NOT_FOR_THIS = "peer_certificate: unsuitable certificate purpose"
NOBODY = "peer_certificate: unable to get local issuer certificate"
SERVER, CLIENT, MAIL = (
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
)
LONG = "GROUPEMENT HOSPITALIER DE TERRITOIRE DES DEUX RIVES"
NAMESAKE = "an authority of the same name"
TWO = (dn("mx1.audit.example", "PREMIER OPERATEUR"), dn("mx2.audit.example", "SECOND OPERATEUR"))

REVOKED, EXPIRED = "peer_certificate: certificate revoked", "peer_certificate: certificate has expired"
SELF_SIGNED = "peer_certificate: self-signed certificate in certificate chain"
FORGED = "peer_certificate: certificate signature failure"
PUBLIC = "a public authority"
OTHER_OU = dn().replace(OU, "300000000099622")

# fmt: off
SHEET = (
    # the seven of the ANS        what is shown                         it writes to us       we write to it
    Case("cert valide",           Shown(),                              PASSED,               PASSED),
    Case("cert cn diff dn",       Shown("autre.example"),               NOT_LISTED,           UNLISTED, (dn(),)),
    Case("cert no match",         Shown("x.example", "AUTRUI"),         NOT_LISTED,           UNLISTED, (dn(),)),
    Case("cert expire",           Shown(expired=True),                  HANDSHAKE,            EXPIRED),
    Case("cert revoque",          Shown(revoked=True),                  HANDSHAKE,            REVOKED),
    Case("cert non igc",          Shown(of=PUBLIC),                     HANDSHAKE,            SELF_SIGNED),
    Case("sans tls",              Shown(tls=False),                     "530 5.7.0 at MAIL",  "no_starttls"),
    # and beyond
    Case("for mail only",         Shown(uses=(MAIL,)),                  HANDSHAKE,            NOT_FOR_THIS),
    Case("for clients only",      Shown(uses=(CLIENT,)),                NOT_LISTED,           NOT_FOR_THIS),
    Case("for servers only",      Shown(uses=(SERVER,)),                HANDSHAKE,            PASSED),
    Case("key for documents",     Shown(key_usage="content_commitment"),     HANDSHAKE,            NOT_FOR_THIS),
    Case("intermediate revoked",  Shown(of="revoked intermediate"),     HANDSHAKE,            REVOKED),
    Case("CA of the same name",   Shown(of=NAMESAKE),                   HANDSHAKE,            FORGED),
    Case("namesake, leaf alone",  Shown(of=NAMESAKE, chain=False),      HANDSHAKE,            FORGED),
    Case("chain incomplete",      Shown(chain=False),                   PASSED,               PASSED),
    Case("unknown, leaf alone",   Shown(of=PUBLIC, chain=False),        HANDSHAKE,            NOBODY),
    Case("other identifier",      Shown(),                              NOT_LISTED,           UNLISTED, (OTHER_OU,)),
    # a domain between two operators: both are right, a third is not
    Case("first of two",          Shown("mx1.audit.example", "PREMIER OPERATEUR"),  PASSED,        PASSED, TWO),
    Case("second of two",         Shown("mx2.audit.example", "SECOND OPERATEUR"),   PASSED,        PASSED, TWO),
    Case("half of each",          Shown("mx1.audit.example", "SECOND OPERATEUR"),   NOT_LISTED,    UNLISTED, TWO),
    # the list writes names in its own ways; they are the same names
    *(Case(name, Shown(o=o), PASSED, PASSED, (text,)) for name, o, text in (
        ("quotes and blanks",     "C H U  DE  LIMOGES",            dn(o='"C H U  DE  LIMOGES"')),
        ("inner quotes",          'CLINIQUE "LES PINS"',           dn(o='CLINIQUE "LES PINS"')),
        ("no-break space",        "CLINIQUE DU PARC",              dn(o="CLINIQUE\u00a0DU PARC")),
        ("L for ST",              "CLINIQUE DU PARC",              dn(o="CLINIQUE DU PARC", rest="L=Paris (75),C=FR")),
        ("cut at 40",             LONG,                            dn(o=LONG[:40])),
        ("not cut in the list",   LONG,                            dn(o=LONG)),
        ("trailing space",        "CLINIQUE DU PARC",              dn("audit.example ", "CLINIQUE DU PARC ")),
        ("blank after commas",    "CLINIQUE DU PARC",              dn(o="CLINIQUE DU PARC").replace(",", ", ")),
        ("accents and case",      "HÔPITAL SAINT-ÉTIENNE",         dn(o="Hôpital Saint-Étienne")),
    )),
)
# fmt: on
CASES = {case.name: (case.shown, case.texts) for case in SHEET}
OTHERS = {name: (Shown(), (dn(),)) for name in ("it refuses us", "it hangs up", "it is ill")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[UnderTest]:
    async with UnderTest(make_world(tmp_path_factory.mktemp("audit"), CASES | OTHERS)).serving() as under_test:
        yield under_test


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", SHEET, ids=lambda case: case.name)
async def test_it_writes_to_us(under_test: UnderTest, case: Case, version: str) -> None:
    assert await under_test.receive(case.name, version) == case.receive


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", SHEET, ids=lambda case: case.name)
async def test_we_write_to_it(under_test: UnderTest, case: Case, version: str) -> None:
    noted = await under_test.deliver(case.name, version)
    assert noted == PASSED if case.deliver == PASSED else noted.startswith(case.deliver)


@pytest.mark.parametrize("version", VERSIONS)
async def test_it_shows_no_certificate(under_test: UnderTest, version: str) -> None:
    assert await under_test.receive("no certificate", version) == HANDSHAKE


# Our own certificate, and the network


@pytest.mark.parametrize("version", VERSIONS)
async def test_its_refusal_of_our_certificate_is_no_network_fault(under_test: UnderTest, version: str) -> None:
    """In TLS 1.3 it comes after our handshake has ended well (RFC 8446 §4.4.2)."""
    script = refusing(under_test.world, "cert valide", VERSIONS[version])
    noted = await under_test.deliver_to("it refuses us", version, script)
    assert noted.startswith("certificate_refused: ")
    assert "unknown_ca" in noted


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_connection_cut_after_the_handshake_says_what_it_may_mean(under_test: UnderTest, version: str) -> None:
    context = under_test.world.context("cert valide", ssl.PROTOCOL_TLS_SERVER, VERSIONS[version])

    async def cut(session: Session) -> None:
        await session.until_tls(context)
        session.reset()

    noted = await under_test.deliver_to("it hangs up", version, cut)
    assert noted == "closed_after_handshake: the peer may have refused our certificate"


async def test_a_dead_network_says_nothing_of_certificates(under_test: UnderTest) -> None:
    async def hang_up(session: Session) -> None:
        session.reset()

    noted = await under_test.deliver_to("it is ill", "TLS 1.3", hang_up)
    assert noted.startswith("closed")
    assert "certificate" not in noted


# Revocation lists that are missing or have expired

ABSENT = {name: CASES[name] for name in ("cert valide", "cert revoque", "intermediate revoked")}
UNKNOWN = {"missing": "peer_certificate: unable to get certificate CRL", "expired": "peer_certificate: CRL has expired"}


@pytest.mark.parametrize("crl", UNKNOWN)
async def test_without_a_current_crl_everybody_is_refused(tmp_path: Path, crl: str) -> None:
    async with UnderTest(make_world(tmp_path, ABSENT, crl=crl)).serving() as under_test:
        for version in VERSIONS:
            assert await under_test.receive("cert valide", version) == HANDSHAKE
            assert (await under_test.deliver("cert valide", version)).startswith(UNKNOWN[crl])


@pytest.mark.parametrize("crl", UNKNOWN)
async def test_the_setting_accepts_then_with_a_line_each_time(tmp_path: Path, crl: str) -> None:
    """What an expired list names stays refused: it is known to be bad."""
    bad = HANDSHAKE if crl == "expired" else PASSED
    async with UnderTest(make_world(tmp_path, ABSENT, crl=crl)).serving(crl_required=False) as under_test:
        for version in VERSIONS:
            with structlog.testing.capture_logs() as logs:
                assert await under_test.receive("cert valide", version) == PASSED
                assert await under_test.deliver("cert valide", version) == PASSED
            told = [line["peer"] for line in logs if line["event"] == "accepted without a current revocation list"]
            assert told == ["CN=audit.example,OU=300065432100018,O=OPERATEUR D AUDIT,ST=Paris (75),C=FR"] * 2
            for revoked in ("cert revoque", "intermediate revoked"):
                assert await under_test.receive(revoked, version) == bad
                noted = await under_test.deliver(revoked, version)
                assert noted == PASSED if bad == PASSED else noted.startswith(REVOKED)
