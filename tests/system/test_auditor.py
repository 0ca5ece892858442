"""The auditor's sheet: who may exchange mail with us, and who not, in both directions and in both versions of TLS.

The ANS's tool (MOTCO1, facts 1.5) plays the seven first cases with domains that the white list names for it. Each row
says what is shown, what the list says of its domain, what must happen when it writes to us, and when we write to it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import structlog
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.system.auditor import HANDSHAKE, OU, PASSED, VERSIONS, Session, Shown, UnderTest, make_world, refusing

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_LISTED = "550 5.7.1 at MAIL"
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

# fmt: off
SHEET = (
    # the seven of the ANS       shown                                         it writes to us  we write to it
    Case("cert valide",          Shown(),                                      PASSED,          PASSED),
    Case("cert cn diff dn",      Shown("autre.example"),                       NOT_LISTED,      "not_listed: CN=autre.example", (dn(),)),
    Case("cert no match",        Shown("x.example", "AUTRUI"),                 NOT_LISTED,      "not_listed: CN=x.example", (dn(),)),
    Case("cert expire",          Shown(expired=True),                          HANDSHAKE,       "peer_certificate: certificate has expired"),
    Case("cert revoque",         Shown(revoked=True),                          HANDSHAKE,       "peer_certificate: certificate revoked"),
    Case("cert non igc",         Shown(of="a public authority"),               HANDSHAKE,       "peer_certificate: self-signed certificate in certificate chain"),
    Case("sans tls",             Shown(tls=False),                             "530 5.7.0 at MAIL", "no_starttls"),
    # and beyond
    Case("for mail only",        Shown(uses=(MAIL,)),                          HANDSHAKE,       NOT_FOR_THIS),
    Case("for clients only",     Shown(uses=(CLIENT,)),                        NOT_LISTED,      NOT_FOR_THIS),
    Case("for servers only",     Shown(uses=(SERVER,)),                        HANDSHAKE,       PASSED),
    Case("key for repudiation",  Shown(key_usage="content_commitment"),        HANDSHAKE,       NOT_FOR_THIS),
    Case("intermediate revoked", Shown(of="revoked intermediate"),             HANDSHAKE,       "peer_certificate: certificate revoked"),
    Case("ca of the same name",  Shown(of=NAMESAKE),                           HANDSHAKE,       "peer_certificate: "),
    Case("namesake, leaf alone", Shown(of=NAMESAKE, chain=False),              HANDSHAKE,       "peer_certificate: certificate signature failure"),
    Case("chain incomplete",     Shown(chain=False),                           PASSED,          PASSED),
    Case("unknown, leaf alone",  Shown(of="a public authority", chain=False),  HANDSHAKE,       NOBODY),
    # a domain between two operators: both are right, a third is not
    Case("first of two",         Shown("mx1.audit.example", "PREMIER OPERATEUR"), PASSED,       PASSED, TWO),
    Case("second of two",        Shown("mx2.audit.example", "SECOND OPERATEUR"),  PASSED,       PASSED, TWO),
    Case("third of two",         Shown("mx1.audit.example", "SECOND OPERATEUR"),  NOT_LISTED,   "not_listed: CN=mx1", TWO),
    # how the list really writes names
    Case("quotes and blanks",    Shown(o="C H U  DE  LIMOGES"),                PASSED,          PASSED, (dn(o='"C H U  DE  LIMOGES"'),)),
    Case("inner quotes",         Shown(o='CLINIQUE "LES PINS"'),               PASSED,          PASSED, (dn(o='CLINIQUE "LES PINS"'),)),
    Case("no-break space",       Shown(o="CLINIQUE DU PARC"),                  PASSED,          PASSED, (dn(o="CLINIQUE\u00a0DU PARC"),)),
    Case("L for ST",             Shown(),                                      PASSED,          PASSED, (dn(rest="L=Paris (75),C=FR"),)),
    Case("cut at 40",            Shown(o=LONG),                                PASSED,          PASSED, (dn(o=LONG[:40]),)),
    Case("not cut in the list",  Shown(o=LONG),                                PASSED,          PASSED, (dn(o=LONG),)),
    Case("trailing space",       Shown(),                                      PASSED,          PASSED, (dn("audit.example "),)),
    Case("blank after commas",   Shown(),                                      PASSED,          PASSED, (dn().replace(",", ", "),)),
    Case("accents, case",        Shown(o="HOPITAL DE SAINT-ÉTIENNE"),          PASSED,          PASSED, (dn(o="Hopital de Saint-Étienne"),)),
    Case("other identifier",     Shown(),                                      NOT_LISTED,      "not_listed: ", (dn().replace(OU, "300000000099622"),)),
)
# fmt: on
CASES = {case.name: (case.shown, case.texts) for case in SHEET}


@pytest.fixture(scope="module", params=["current"])
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[UnderTest]:
    async with UnderTest(make_world(tmp_path_factory.mktemp("audit"), CASES)).serving() as under_test:
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
