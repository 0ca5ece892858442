"""A mailbox comes over from another operator, by IMAP, while that one serves."""

import imaplib

import pytest

from tests.support.operators import Network
from tests.system.people import Person, professional


@pytest.fixture
def here_and_there(network: Network) -> tuple[Person, Person]:
    """The holder's new mailbox at the cabinet, and the old one at the clinique, with mail in it."""
    cabinet, clinique = network.operators[:2]
    old, new = professional(clinique), professional(cabinet)
    with imaplib.IMAP4_SSL("127.0.0.1", clinique.port_of("imaps"), ssl_context=clinique.trust()) as session:
        session.login(old.address, old.password)
        session.create('"R&AOk-sultats/2025"')
        for folder, flags, date, text in (
            ("INBOX", "(\\Seen)", '"03-Nov-2025 10:00:00 +0100"', b"Subject: un\r\n\r\nBonjour\r\n"),
            ("INBOX", "", '"04-Nov-2025 10:00:00 +0100"', b"Subject: deux\r\n\r\n" + b"x" * 200_000 + b"\r\n"),
            ('"Envoy&AOk-s"', "(\\Seen \\Answered)", None, b"Subject: parti\r\n\r\nMerci\r\n"),
            ('"R&AOk-sultats/2025"', "(\\Flagged)", None, b"Subject: trois\r\n\r\n\xe9\r\n"),
        ):
            assert session.append(folder, flags, date, text)[0] == "OK"
    return new, old


def _fetch(network: Network, new: Person, old: Person, password: str | None = None) -> tuple[int, str, str]:
    cabinet, clinique = network.operators[:2]
    where = f"imaps://{old.address.replace('@', '%40')}@127.0.0.1:{clinique.port_of('imaps')}"
    roots = str(clinique.directory / "pki" / "ca.pem")
    done = cabinet.command(
        "bal", "fetch", new.address, "--from", where, "--roots", roots, "--password-stdin",
        given=f"{password or old.password}\n",
    )  # fmt: skip
    return done.code, done.out, done.err


def test_folders_flags_and_dates_come_along_once(network: Network, here_and_there: tuple[Person, Person]) -> None:
    new, old = here_and_there
    code, out, err = _fetch(network, new, old)
    assert (code, out) == (0, "Envoyés: 1 messages\nINBOX: 2 messages\nRésultats/2025: 1 messages\n"), err
    cabinet, clinique = network.operators[:2]
    with imaplib.IMAP4_SSL("127.0.0.1", cabinet.port_of("imaps"), ssl_context=cabinet.trust()) as session:
        session.login(new.address, new.password)
        session.select("INBOX", readonly=True)
        _, (first, *_) = session.fetch("1", "(FLAGS INTERNALDATE BODY.PEEK[])")
        assert b"\\Seen" in first[0]
        assert b'" 3-Nov-2025 09:00:00 +0000"' in first[0]
        assert first[1] == b"Subject: un\r\n\r\nBonjour\r\n"
        assert session.select('"R&AOk-sultats/2025"')[1] == [b"1"]
    again = _fetch(network, new, old)
    assert (again[0], again[1]) == (0, "no new message\n")
    with imaplib.IMAP4_SSL("127.0.0.1", clinique.port_of("imaps"), ssl_context=clinique.trust()) as session:
        session.login(old.address, old.password)
        session.append("INBOX", "", None, b"Subject: neuf\r\n\r\nBonjour\r\n")
    assert _fetch(network, new, old)[:2] == (0, "INBOX: 1 messages\n")


def test_a_wrong_password_is_told(network: Network, here_and_there: tuple[Person, Person]) -> None:
    code, _, err = _fetch(network, *here_and_there, password="faux mot de passe")
    assert (code, err.count("\n")) == (1, 1)
    assert "the other server" in err
