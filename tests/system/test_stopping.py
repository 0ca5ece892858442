"""SIGTERM keeps what was promised and tells everybody; SIGHUP takes changed files into force and drops nobody."""

import shutil
import signal
import smtplib
import socket
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_der_x509_certificate

from espace_confiance.liste_blanche import SignerPin, read_liste, sign_liste
from tests.support.operators import HOST, Network, Operator, command, free_ports, until
from tests.system.people import Person, answers, at_mx, brief, professional
from tls.certificates import describe, load_certificates


def test_sigterm_drains(own_network: Network) -> None:
    here = own_network.cabinet
    own_network.serve(here)
    martin, petit = professional(here), professional(here)
    whole, cut = martin.letter(petit.address), martin.letter(petit.address)
    with martin.smtp() as idle, martin.smtp() as between, martin.smtp() as sending, martin.smtp() as leaving:
        assert answers(between, martin.address, [petit.address]) == ["250 2.1.0", "250 2.1.5"]
        for session, letter in ((sending, whole), (leaving, cut)):
            answers(session, martin.address, [petit.address])
            assert session.docmd("DATA")[0] == 354
            session.send(letter.octets[:100])
        with petit.imap() as inbox:
            here.signal(signal.SIGTERM)
            for session in (idle, between):
                assert brief(session.getreply()) == "421 4.3.2"
            assert inbox.bye().startswith(b"* BYE ")
        for service in ("mx", "submission", "submissions", "imap", "imaps"):
            with pytest.raises(ConnectionError):
                socket.create_connection((HOST, here.port_of(service)), 5).close()
        # Its author still has the time to end what he had begun to say.
        sending.send(whole.octets[100:] + b".\r\n")
        assert brief(sending.getreply()) == "250 2.0.0"
        assert brief(sending.getreply()) == "421 4.3.2"
        leaving.close()
        for session in (idle, between, sending):
            session.close()
    assert here.ended() == 0
    assert here.troubles() == []
    here.start()
    here.ready()
    with petit.imap() as inbox:
        inbox.await_letter(whole)
        assert inbox.message_ids() == [whole.message_id]
    assert here.command("verify").code == 0


def test_sighup_takes_certificates_and_configuration(own_network: Network, tmp_path: Path) -> None:
    here = own_network.cabinet
    own_network.serve(here)
    martin, petit = professional(here), professional(here)
    pki = here.directory / "pki"
    old = serial(martin)
    # What is faulty is told and changes nothing.
    (pki / "operator.key").write_text("not a key\n")
    here.set("rules", max_recipients="many")
    here.signal(signal.SIGHUP)
    until(lambda: len(here.troubles()) >= 2, "both faults in the log")
    assert "operator.key" in str(here.troubles()) and "max_recipients" in str(here.troubles())
    assert serial(martin) == old
    here.set("rules", max_recipients=1)
    with martin.smtp() as session, petit.imap() as inbox:
        subject = describe(load_certificates(pki / "operator.pem")[0]).dn
        names = ("--cn", subject.cn, "--ou", subject.ou, "--o", subject.o)
        here.run("pki", "issue", *names, "--kind", "serv", "--out", str(tmp_path / "new"))
        shutil.copy(tmp_path / "new" / "cert.pem", pki / "operator.pem")
        shutil.copy(tmp_path / "new" / "cert.key", pki / "operator.key")
        here.signal(signal.SIGHUP)
        until(lambda: serial(martin) != old, "the new certificate")
        assert serial(martin) == load_certificates(tmp_path / "new" / "cert.pem")[0].serial_number
        # The sessions of before are still there, under the new rules.
        assert inbox.count() == 0
        told = until(lambda: asked_for_two(session, martin, petit), "the new limit")
        assert told == ["250 2.1.0", "250 2.1.5", "550 5.5.3"]
    assert here.stop() == 0


def asked_for_two(session: smtplib.SMTP, author: Person, reader: Person) -> list[str]:
    """What two recipients are answered, once they are not both accepted."""
    session.rset()
    told = answers(session, author.address, [reader.address, author.address])
    return told if told[-1] != "250 2.1.5" else []


def serial(person: Person) -> int:
    """Of the certificate that his operator shows to a new session."""
    with person.smtp(sign_in=False) as session:
        assert isinstance(session.sock, ssl.SSLSocket)
        der = session.sock.getpeercert(binary_form=True)
    assert der is not None
    return load_der_x509_certificate(der).serial_number


def test_sighup_takes_revocations_and_the_white_list(own_network: Network, tmp_path: Path) -> None:
    here, clinique = own_network.cabinet, own_network.clinique
    own_network.serve(here)
    petit = professional(here)
    sender = f"qui@{clinique.domain}"
    crl = here.directory / "pki" / "crl.pem"
    before = crl.read_bytes()
    subject = describe(load_certificates(clinique.directory / "pki" / "operator.pem")[0]).dn
    names = ("--cn", subject.cn, "--ou", subject.ou, "--o", subject.o)
    here.run("pki", "issue", *names, "--kind", "serv", "--revoked", "--out", str(tmp_path / "stolen"))
    revoked = crl.read_bytes()
    crl.write_bytes(before)
    here.signal(signal.SIGHUP)
    with until(lambda: admitted(here, clinique, tmp_path / "stolen"), "the stolen certificate admitted") as stolen:
        assert answers(stolen, sender, [petit.address]) == ["250 2.1.0", "250 2.1.5"]
        crl.write_bytes(revoked)
        here.signal(signal.SIGHUP)
        until(lambda: refused(here, clinique, tmp_path / "stolen"), "the stolen certificate refused")
        # Its session of before is not dropped; the operator's own certificate is as good as ever.
        assert brief(stolen.rcpt(petit.address)) == "250 2.1.5"
    with at_mx(here, clinique) as session:
        assert answers(session, sender, [petit.address]) == ["250 2.1.0", "250 2.1.5"]
        session.rset()
        # A fourth operator joins: its domain can be written to.
        with petit.smtp() as writing:
            newcomer = "dr@nouvelle.mssante.example"
            assert answers(writing, petit.address, [newcomer]) == ["250 2.1.0", "550 5.7.1"]
            joined = str(own_network.directory / "nouvelle")
            said = ("--operator", "Nouvelle", "--domain", "nouvelle.mssante.example", "--join", str(here.directory))
            assert command("init", joined, *said, "--port-base", str(free_ports(7))).code == 0
            here.signal(signal.SIGHUP)
            until(lambda: brief(writing.rcpt(newcomer)) == "250 2.1.5", "the newcomer's domain")
        # The peer is struck off the list: its open session may send no more.
        (tmp_path / "liste.xml").write_bytes(without(here, clinique.domain))
        here.run("liste-blanche", "import", str(tmp_path / "liste.xml"))
        here.signal(signal.SIGHUP)
        until(lambda: mail_once(session, sender) == "550 5.7.1", "the peer's domain struck off")
    assert here.stop() == 0
    assert here.troubles() == []


def admitted(here: Operator, other: Operator, certificate: Path) -> smtplib.SMTP | None:
    """A session with this certificate, when the MX admits it."""
    try:
        return at_mx(here, other, certificate)
    except (OSError, smtplib.SMTPException):
        return None


def refused(here: Operator, other: Operator, certificate: Path) -> bool:
    """Does the MX turn this certificate away?"""
    session = admitted(here, other, certificate)
    if session is not None:
        session.close()
    return session is None


def mail_once(session: smtplib.SMTP, sender: str) -> str:
    """The answer to MAIL in a session that stays."""
    session.rset()
    return brief(session.mail(sender))


def without(operator: Operator, domain: str) -> bytes:
    """The white list in force, of a moment later and without one domain."""
    espace, authority = operator.directory / "espace", operator.directory / "pki" / "authority"
    liste = read_liste((espace / "listeblanche.xml").read_bytes(), SignerPin.from_pem(espace / "signer.pem"))
    (signer,) = load_certificates(authority / "signataire.pem")
    key = load_pem_private_key((authority / "signataire.key").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    entries = [entry for entry in liste.entries if entry.nom != domain]
    assert len(entries) == len(liste.entries) - 1
    return sign_liste(entries, key, signer, liste.generated_us + 1_000_000)
