"""Signing in at a running operator as mail programs do it: Pro Santé Connect, certificates, passwords of devices."""

import base64
import contextlib
import imaplib
import json
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imapclient
import pytest

from tests.support.operators import HOST, Operator, copy_of, until
from tests.support.pro_sante_connect import CLIENT, SECRET, SOFTWARE, FakeConnect, new_key, serving
from tests.system.people import TIMEOUT_S, Mailbox, Person, professional

MODES = ["introspection", "keys"]


@dataclass
class House:
    operator: Operator
    connect: FakeConnect
    web: ssl.SSLContext

    @contextlib.contextmanager
    def imap(self, trust: ssl.SSLContext | None = None) -> Iterator[imaplib.IMAP4_SSL]:
        """A session not signed in; it may have ended when the test is done with it."""
        port, trust = self.operator.port_of("imaps"), trust or self.operator.trust()
        session = imaplib.IMAP4_SSL(HOST, port, ssl_context=trust, timeout=TIMEOUT_S)
        try:
            yield session
        finally:
            session.shutdown()

    @contextlib.contextmanager
    def smtp(self, trust: ssl.SSLContext | None = None) -> Iterator[smtplib.SMTP_SSL]:
        """The same at the other door."""
        port, trust = self.operator.port_of("submissions"), trust or self.operator.trust()
        session = smtplib.SMTP_SSL(HOST, port, "poste", timeout=TIMEOUT_S, context=trust)
        try:
            session.ehlo()
            yield session
        finally:
            session.close()

    def rpps(self, person: Person) -> str:
        return str(self.operator.json("bal", "show", person.address)["rpps"])

    def token(self, person: Person, **changes: object) -> str:
        return self.connect.token(f"8{self.rpps(person)}", **changes)

    def curl(self, url: str, *said: str) -> subprocess.CompletedProcess[bytes]:
        roots = str(self.operator.directory / "pki" / "ca.pem")
        return subprocess.run(
            ["curl", "-sS", "-k", "--max-time", "20", "--cacert", roots, "--url", url, *said],
            capture_output=True,
            timeout=30,
            check=False,
        )


@pytest.fixture(scope="module", params=MODES)
def house(request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The cabinet, whose people sign in with Pro Santé Connect."""
    network = copy_of(template, tmp_path_factory.mktemp("signing") / "network")
    operator = network.cabinet
    pki = operator.directory / "pki"
    web = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    web.load_cert_chain(pki / "operator.pem", pki / "operator.key")
    (pki / "client.secret").write_text(SECRET + "\n")
    with serving(web) as connect, contextlib.closing(network):
        said = {"issuer": connect.issuer, "audiences": [SOFTWARE], "roots": "pki/ca.pem", "check": request.param}
        operator.set("pro_sante_connect", **said, client_id=CLIENT, client_secret_file="pki/client.secret", timeout_s=2)
        network.serve(operator)
        yield House(operator, connect, web)
        assert operator.stop() == 0
        assert operator.troubles() == []
        log = operator.log.read_text()
        assert SECRET not in log and "eyJ" not in log


def xoauth2(address: str, token: str) -> str:
    return f"user={address}\x01auth=Bearer {token}\x01\x01"


def oauthbearer(address: str, token: str) -> str:
    return f"n,a={address},\x01host=localhost\x01auth=Bearer {token}\x01\x01"


WORDS = {"XOAUTH2": xoauth2, "OAUTHBEARER": oauthbearer}


@pytest.mark.parametrize("mechanism", WORDS)
def test_a_token_opens_the_holders_mailbox_at_both_doors(house: House, mechanism: str) -> None:
    martin = professional(house.operator)
    token = house.token(martin, padding="x" * 3500)
    said = WORDS[mechanism](martin.address, token)
    with house.imap() as imap:
        assert f"AUTH={mechanism}" in imap.capabilities
        imap.authenticate(mechanism, lambda challenge: said.encode())
        assert imap.select("INBOX")[0] == "OK"
    with house.smtp() as smtp:
        assert mechanism in smtp.esmtp_features["auth"].split()
        assert smtp.auth(mechanism, lambda challenge=None: said)[0] == 235
        letter = martin.letter(martin.address)
        assert smtp.sendmail(martin.address, [martin.address], letter.octets) == {}
    with martin.imap() as inbox:
        inbox.await_letter(letter)


def test_clients_of_others_bring_tokens(house: House, tmp_path: Path) -> None:
    """imapclient and curl, as they are."""
    martin = professional(house.operator)
    port, token = house.operator.port_of("imaps"), house.token(martin)
    for sign_in in ("oauth2_login", "oauthbearer_login"):
        client = imapclient.IMAPClient(HOST, port, ssl_context=house.operator.trust(), timeout=TIMEOUT_S)
        getattr(client, sign_in)(martin.address, token)
        assert client.select_folder("INBOX")[b"EXISTS"] == 0
        client.logout()
    letter = tmp_path / "letter.eml"
    letter.write_bytes(martin.letter(martin.address).octets)
    who = ("--user", f"{martin.address}:", "--oauth2-bearer", token)
    send = ("--mail-from", martin.address, "--mail-rcpt", martin.address, "--upload-file", str(letter))
    for options in ((), ("--login-options", "AUTH=XOAUTH2")):
        sent = house.curl(f"smtps://{HOST}:{house.operator.port_of('submissions')}/poste", *who, *options, *send)
        assert sent.returncode == 0, sent.stderr
        read = house.curl(f"imaps://{HOST}:{port}/", *who, *options, "-X", "STATUS INBOX (MESSAGES)")
        assert b"MESSAGES" in read.stdout, read.stderr


@pytest.mark.parametrize("mechanism", WORDS)
def test_a_refused_token_is_told_in_json_and_the_line_stays(house: House, mechanism: str) -> None:
    martin, other = professional(house.operator), professional(house.operator)
    expired = WORDS[mechanism](martin.address, house.token(martin, exp=1))
    theirs = WORDS[mechanism](other.address, house.token(martin))
    good = WORDS[mechanism](martin.address, house.token(martin))
    told: list[dict[str, str]] = []
    with house.imap() as imap:
        for said, code in ((expired, "AUTHENTICATIONFAILED"), (theirs, "AUTHORIZATIONFAILED")):
            answers = iter([said.encode()])

            def answer(challenge: bytes, answers: Iterator[bytes] = answers) -> bytes:
                if challenge:
                    told.append(json.loads(challenge))
                return next(answers, b"\x01")

            with pytest.raises(imaplib.IMAP4.error, match=code):
                imap.authenticate(mechanism, answer)
        imap.authenticate(mechanism, lambda challenge: good.encode())
    with house.smtp() as smtp:
        for said in (expired, theirs):
            code, challenge = smtp.docmd("AUTH", f"{mechanism} {base64.b64encode(said.encode()).decode()}")
            assert code == 334
            told.append(json.loads(base64.b64decode(challenge)))
            assert smtp.docmd("AQ==")[0] == 535
        assert smtp.docmd("AUTH", f"{mechanism} {base64.b64encode(expired.encode()).decode()}")[0] == 334
        assert smtp.docmd("*")[0] == 501
        assert smtp.auth(mechanism, lambda challenge=None: good)[0] == 235
    statuses = ["401", "403"] if mechanism == "XOAUTH2" else ["invalid_token", "insufficient_scope"]
    assert [one["status"] for one in told] == statuses * 2
    if mechanism == "OAUTHBEARER":
        assert told[0]["openid-configuration"].endswith("/.well-known/wallet-openid-configuration")


def test_cancelled_and_malformed_exchanges(house: House) -> None:
    with house.imap() as imap:
        imap.send(b"a1 AUTHENTICATE XOAUTH2\r\n")
        assert imap.readline() == b"+ \r\n"
        imap.send(b"*\r\n")
        assert imap.readline().startswith(b"a1 BAD ")
        for said in (b"!", base64.b64encode(b"user=a\x01auth=Basic x\x01\x01")):
            imap.send(b"a2 AUTHENTICATE XOAUTH2 " + said + b"\r\n")
            assert imap.readline().startswith(b"a2 BAD ")
        imap.send(b"a3 AUTHENTICATE EXTERNAL =\r\n")  # nothing was shown in the handshake
        assert imap.readline().startswith(b"a3 NO [CANNOT] ")
    with house.smtp() as smtp:
        assert smtp.docmd("AUTH", "OAUTHBEARER")[0] == 334
        assert smtp.docmd("*")[0] == 501
        assert smtp.docmd("AUTH", "XOAUTH2 AAAA")[0] == 501
        assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 504


def test_who_answers_for_a_structure_and_whom_it_lends_itself_to(house: House) -> None:
    run = house.operator.run
    martin, petit = professional(house.operator), professional(house.operator)
    secretariat = f"secretariat.{martin.address}"
    run("bal", "create", secretariat, "--type", "ORG", "--rpps", house.rpps(martin))

    def opens(person: Person) -> bool:
        said = xoauth2(secretariat, house.token(person)).encode()
        with house.imap() as imap:
            try:
                imap.authenticate("XOAUTH2", lambda challenge: b"" if challenge else said)
            except imaplib.IMAP4.error:
                return False
            return True

    assert opens(martin)
    assert not opens(petit)
    right = ("bal", "delegate", secretariat, "--to", house.rpps(petit), "--right")
    run(*right, "read")
    assert not opens(petit)
    run(*right, "write")
    assert opens(petit)
    said = xoauth2(secretariat, house.token(petit)).encode()
    with house.imap() as imap:
        imap.authenticate("XOAUTH2", lambda challenge: said)
        run(*right, "write", "--remove")
        assert imap.readline().startswith(b"* BYE ")
    # What was lent to a mailbox is its holder's as long as he may sign in to that mailbox.
    run("bal", "delegate", secretariat, "--to", petit.address, "--right", "write")
    assert opens(petit)
    with house.imap() as imap:
        imap.authenticate("XOAUTH2", lambda challenge: said)
        run("regulateur", "clore", petit.address, "--motif", "abus")
        assert imap.readline().startswith(b"* BYE ")
    assert not opens(petit)
    run("bal", "suspend", secretariat, "--motif", "essai")
    assert not opens(martin)


def test_without_a_name_the_only_mailbox_opens(house: House) -> None:
    martin = professional(house.operator)
    with house.smtp() as smtp:
        assert smtp.auth("XOAUTH2", lambda challenge=None: xoauth2("", house.token(martin)))[0] == 235
    house.operator.run("bal", "create", f"deux.{martin.address}", "--type", "PER", "--rpps", house.rpps(martin))
    with house.smtp() as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.auth("XOAUTH2", lambda challenge=None: "" if challenge else xoauth2("", house.token(martin)))


def test_an_issuer_that_is_away_stops_new_sign_ins_only(house: House, template: Path, tmp_path: Path) -> None:
    """In a house of its own: the issuer goes and comes back."""
    network = copy_of(template, tmp_path / "network")
    operator = network.cabinet
    with contextlib.closing(network), contextlib.ExitStack() as sessions:
        with serving(house.web) as connect:
            said = {"issuer": connect.issuer, "audiences": ["*"], "roots": "pki/ca.pem", "check": "keys"}
            operator.set("pro_sante_connect", **said, timeout_s=1)
            network.serve(operator)
            here = House(operator, connect, house.web)
            martin = professional(operator)
            words = xoauth2(martin.address, here.token(martin))
            imap, smtp = sessions.enter_context(here.imap()), sessions.enter_context(here.smtp())
            imap.authenticate("XOAUTH2", lambda challenge: words.encode())
            smtp.auth("XOAUTH2", lambda challenge=None: words)
            stranger = connect.token(f"8{here.rpps(martin)}", key=new_key("unknown"))
        assert imap.select("INBOX")[0] == "OK"
        assert smtp.sendmail(martin.address, [martin.address], martin.letter(martin.address).octets) == {}
        with here.imap() as late:
            # Its keys are held for an hour: who comes with one of them does not notice.
            late.authenticate("XOAUTH2", lambda challenge: words.encode())
        sessions.close()
        assert operator.stop() == 0
        network.serve(operator)  # it starts all the same, and holds no keys now
        for said_now in (xoauth2(martin.address, stranger), words):
            with here.imap() as late, pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
                late.authenticate("XOAUTH2", lambda challenge, said=said_now: said.encode())
        with here.smtp() as late_smtp:
            code, text = late_smtp.docmd("AUTH", f"XOAUTH2 {base64.b64encode(words.encode()).decode()}")
            assert (code, text[:5]) == (454, b"4.7.0")
        martin.smtp().close()  # passwords do not wait for it


@pytest.fixture
def certificates(house: House, tmp_path: Path) -> dict[str, Path]:
    """Directories of certificates: of an organisation, a revoked one, one of a server."""
    made = {}
    for name, more in (("org", ()), ("revoked", ("--revoked",)), ("expired", ("--expired",)), ("serv", ())):
        kind = "serv" if name == "serv" else "org"
        names = ("--cn", f"{name}.{tmp_path.name}.example", "--ou", "1750000019", "--o", "Labo du Port", "--kind", kind)
        made[name] = tmp_path / name
        house.operator.run("pki", "issue", *names, *more, "--out", str(made[name]))
    return made


def shown(house: House, directory: Path) -> ssl.SSLContext:
    return house.operator.peer_context(directory / "cert.pem", directory / "cert.key")


def test_software_opens_its_mailbox_with_its_certificate(
    house: House, certificates: dict[str, Path], tmp_path: Path
) -> None:
    run = house.operator.run
    address = f"labo.{professional(house.operator).address}"
    org = certificates["org"]
    run("bal", "create", address, "--type", "APP", "--certificate", str(org / "cert.pem"))
    with house.imap(shown(house, org)) as imap:
        assert "AUTH=EXTERNAL" in imap.capabilities
        imap.authenticate("EXTERNAL", lambda challenge: address.encode())
        assert imap.select("INBOX")[0] == "OK"
        letter = Person(address, "", house.operator).letter(address)
        with house.smtp(shown(house, org)) as smtp:
            assert "EXTERNAL" in smtp.esmtp_features["auth"].split()
            assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 235
            assert smtp.sendmail(address, [address], letter.octets) == {}
        (certificate,) = house.operator.json("bal", "certificate", address)
        run("bal", "certificate", address, "--revoke", certificate["name"])
        until(lambda: b"BYE" in imap.readline(), "the end of the session")
    with house.smtp(shown(house, org)) as smtp:
        assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 535
    key = ("--cert", str(org / "cert.pem"), "--key", str(org / "cert.key"))
    run("bal", "certificate", address, "--add", str(org / "cert.pem"))
    who = ("--user", f"{address}:", "--login-options", "AUTH=EXTERNAL")
    read = house.curl(f"imaps://{HOST}:{house.operator.port_of('imaps')}/INBOX;MAILINDEX=1", *who, *key)
    assert letter.message_id.encode() in read.stdout, read.stderr


def test_certificates_that_are_none_for_software(house: House, certificates: dict[str, Path]) -> None:
    def refused(name: str) -> bool:
        try:
            with house.imap(shown(house, certificates[name])):
                return False
        except (OSError, imaplib.IMAP4.error):  # TLS 1.3: the client hears of it at its first read
            return True

    assert refused("expired")
    until(lambda: refused("revoked"), "the new revocation list in force")
    with house.smtp(shown(house, certificates["serv"])) as smtp:
        assert "EXTERNAL" not in smtp.esmtp_features["auth"].split()
        assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 504
    with house.smtp(shown(house, certificates["org"])) as smtp:
        assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 535
    martin = professional(house.operator)
    with Mailbox(martin) as inbox:
        assert inbox.count() == 0


def test_a_device_that_was_lost(house: House) -> None:
    """It signs in with its own password until that is revoked; then its session ends, and no other."""
    martin = professional(house.operator)
    run = house.operator.run
    secret = run("bal", "password", martin.address, "--device", "téléphone").strip()
    telephone = Person(martin.address, secret, house.operator)
    with telephone.imap() as lost, martin.imap() as other:
        run("bal", "password", martin.address, "--device", "téléphone", "--revoke")
        until(lambda: b"BYE" in lost.session.readline(), "the end of its session")
        assert other.count() == 0
        run("bal", "password", martin.address, "--password-stdin", given="un tout autre secret")
        until(lambda: b"BYE" in other.session.readline(), "the end of the session of the old password")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        telephone.smtp()
    Person(martin.address, "un tout autre secret", house.operator).smtp().close()
