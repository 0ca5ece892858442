"""The whole operator with a scanner, with DKIM failures refused, and with a key that changes while it serves."""

import re
import signal
import smtplib

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.clamd import EICAR, NAME, running
from tests.support.operators import Network, free_ports, until
from tests.system.people import Person, at_mx, professional


def test_what_the_scanner_finds_goes_nowhere(own_network: Network) -> None:
    """Both ways: a holder's message does not leave, another operator's is not taken; then the scanner goes away."""
    here, clinique = own_network.cabinet, own_network.clinique
    with running(free_ports(1)) as clamd:
        here.set("antivirus", socket=clamd.unix)
        own_network.serve(here, clinique)
        martin, petit = professional(here), professional(clinique)
        clean, found = martin.letter(petit.address), martin.letter(petit.address, text=EICAR.decode())
        with pytest.raises(smtplib.SMTPDataError) as refused:
            martin.send(found, petit.address)
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (550, b"5.7.1")
        martin.send(clean, petit.address)
        with petit.imap() as inbox:
            inbox.await_letter(clean)
        petit.send(petit.letter(martin.address, text=EICAR.decode()), martin.address)
        until(lambda: clinique.json("queue", "list") == [], "the clinique's queue to be over")
        with petit.imap() as inbox, martin.imap() as other:
            until(lambda: inbox.count() == 2, "the clinique's notice")
            assert other.count() == 0
        assert here.figures()["mssante_antivirus_found_total"] == 2
        assert NAME in here.log.read_text()
        [scanner] = [one for one in here.json("doctor") if one["check"] == "antivirus"]
        assert (scanner["verdict"], "ClamAV" in scanner["finding"]) == ("ok", True)
    with pytest.raises(smtplib.SMTPDataError) as put_off:
        martin.send(clean, petit.address)
    assert (put_off.value.smtp_code, put_off.value.smtp_error[:5]) == (451, b"4.7.1")
    assert here.figures()["mssante_antivirus_away_total"] == 1


def selector(author: Person, reader: Person) -> str:
    """Of the key that signed a message between them, and what the reader's operator says of the signature."""
    letter = author.letter(reader.address)
    author.send(letter, reader.address)
    with reader.imap() as inbox:
        arrived = inbox.await_letter(letter)
    signed = re.search(rb"^DKIM-Signature:.*?\bs=([^;]+);", arrived, re.DOTALL | re.MULTILINE)
    result = re.search(rb"dkim=(\w+)", arrived)
    assert signed is not None
    assert result is not None
    return f"{signed[1].decode()} {result[1].decode()}"


def test_another_key_signs_from_sighup_on(own_network: Network) -> None:
    """It is in nobody's DNS here: an operator that notes failures says so, one that refuses them refuses."""
    here, clinique = own_network.cabinet, own_network.clinique
    own_network.serve(here, clinique)
    martin, petit = professional(here), professional(clinique)
    assert selector(martin, petit) == "mssante pass"
    key = ed25519.Ed25519PrivateKey.generate()
    (here.directory / "pki" / "2026b.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    here.set("dkim", selector="2026b", key="pki/2026b.key")
    here.signal(signal.SIGHUP)
    until(lambda: selector(martin, petit) == "2026b permerror", "the new key")
    clinique.set("dkim", on_failure="refuse")
    clinique.signal(signal.SIGHUP)

    def refused() -> bool:
        martin.send(martin.letter(petit.address), petit.address)
        with martin.imap() as inbox:
            return inbox.count() > 0

    until(refused, "a notice of refusal")
    assert '"rule":"message.dkim"' in clinique.log.read_text()
    # A key that cannot be read is told, and the last good one goes on signing.
    here.set("dkim", key="pki/nothing.key")
    here.signal(signal.SIGHUP)
    until(lambda: "the last good one signs" in here.log.read_text(), "the fault in the log")


def test_unsigned_mail_is_taken_even_where_failures_are_refused(own_network: Network) -> None:
    here, clinique = own_network.cabinet, own_network.clinique
    here.set("dkim", on_failure="refuse")
    own_network.serve(here)
    petit = professional(here)
    sender = f"qui@{clinique.domain}"
    with at_mx(here, clinique) as session:
        session.sendmail(sender, [petit.address], f"From: {sender}\r\n\r\nBonjour.\r\n".encode())
    with petit.imap() as inbox:
        until(lambda: inbox.count() == 1, "the message")
