"""A mailbox comes over from another operator, by IMAP, while that one serves."""

import contextlib
import imaplib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from tests.support.operators import HOST, Network
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


HONEST = {
    b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n",
    b"LIST": b'* LIST () "/" INBOX\r\n',
    b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n",
    b"UID SEARCH": b"* SEARCH 1\r\n",
    b"UID FETCH": b"* 1 FETCH (UID 1 BODY[] {14}\r\nSubject: x\r\n\r\n)\r\n",
}


@contextlib.contextmanager
def _saying(network: Network, words: dict[bytes, bytes]) -> Iterator[str]:
    """The URL of a server that says these words, whatever is asked, to one client."""
    pki = network.clinique.directory / "pki"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "operator.pem", pki / "operator.key")
    listener = socket.create_server((HOST, 0))

    def speak() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as session:
            session.sendall(b"* OK\r\n")
            lines = session.makefile("rb")
            while line := lines.readline():
                tag, _, asked = line.partition(b" ")
                if asked.startswith(b"AUTHENTICATE"):
                    session.sendall(b"+ \r\n")
                    lines.readline()
                session.sendall(b"".join(said for word, said in words.items() if asked.startswith(word)))
                session.sendall(tag + b" OK x\r\n")

    speaker = threading.Thread(target=speak)
    speaker.start()
    with listener:
        yield f"imaps://x@{HOST}:{listener.getsockname()[1]}"
        speaker.join()


@pytest.mark.parametrize(
    ("asked", "said", "fault"),
    [
        (b"EXAMINE", b"* 1 EXISTS\r\n", "numbers its messages"),
        (b"EXAMINE", b"* OK [UIDVALIDITY x] x\r\n", "numbers its messages"),
        (b"UID SEARCH", b"* SEARCH 1 99999999999999999999999\r\n", "numbers its messages"),
        (b"UID SEARCH", b"* SEARCH x\r\n", "numbers its messages"),
        (b"UID FETCH", b"* 1 FETCH (UID 1 BODY[] {9000000000}\r\n", "a message of 9000000000 octets"),
        (b"LIST", b'* LIST () "/" "../../x"\r\n', "mailbox name"),
        (b"LIST", b'* LIST () "/" {4}\r\na\r\nb\r\n', "mailbox name"),
        (b"LIST", b'* LIST () "/" "caf\xe9"\r\n', ""),
        (b"UID SEARCH", b"* SEARCH\r\n* SEARCH 1\r\n", ""),
    ],
)
def test_a_server_that_answers_as_none_should(network: Network, asked: bytes, said: bytes, fault: str) -> None:
    new = professional(network.cabinet)
    roots = str(network.clinique.directory / "pki" / "ca.pem")
    with _saying(network, {**HONEST, asked: said}) as url:
        done = network.cabinet.command(
            "bal", "fetch", new.address, "--from", url, "--roots", roots, "--password-stdin", given="x\n"
        )
    assert (done.code, done.err.count("\n")) == ((1, 1) if fault else (0, 0)), done.err
    assert fault in done.err
