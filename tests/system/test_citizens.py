"""Citizens and their exchanges between operators that serve: answer-all, causes of non-delivery, a matricule that
changes, a child and its parent, notices through a relay."""

import asyncio
import email
import smtplib
import threading
from collections.abc import Iterator
from email.message import Message

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.operators import HOST, Network, Operator, until
from tests.system.people import Person, answers, at_mx, brief, new_ins, patient, professional


def told(author: Person, *to: str) -> list[str]:
    with author.smtp() as session:
        return answers(session, author.address, to)[1:]


def test_a_patient_answers_all_of_a_message_that_went_to_two_operators(network: Network) -> None:
    martin, petit, noir = (professional(one) for one in (network.cabinet, network.clinique, network.cabinet))
    durand = patient(network.citoyens)
    written = martin.letter(durand.address, Cc=petit.address, Reply_To=noir.address)
    martin.send(written, durand.address, petit.address)
    for reader in (durand, petit):
        with reader.imap() as inbox:
            inbox.await_letter(written)
    answer = durand.letter(martin.address, petit.address, noir.address, References=written.message_id)
    durand.send(answer, martin.address, petit.address, noir.address)
    for reader in (martin, petit, noir):
        with reader.imap() as inbox:
            inbox.await_letter(answer)
    ended = martin.letter(durand.address, subject="[FIN]")
    martin.send(ended, durand.address)
    with durand.imap() as inbox:
        inbox.await_letter(ended)
    assert told(durand, martin.address, petit.address, noir.address) == ["550 5.7.1"] * 3


@pytest.mark.parametrize(
    ("command", "answer"), [("close", "550 5.2.1"), ("opposition", "550 5.7.1"), ("deces", "550 5.1.6")]
)
def test_each_cause_is_told_at_the_door_and_in_its_own_words(network: Network, command: str, answer: str) -> None:
    durand, martin = patient(network.citoyens), professional(network.cabinet)
    ins = durand.address.partition("@")[0]
    network.citoyens.run("patient", command, ins, "--motif", "essai")
    with at_mx(network.citoyens, network.cabinet) as session:
        assert brief(session.mail(martin.address)) == "250 2.1.0"
        code, text = session.rcpt(durand.address)
        assert brief((code, text)) == answer
        assert ins not in text.decode()
    letter = martin.letter(durand.address)
    martin.send(letter, durand.address)
    with martin.imap() as inbox:
        until(inbox.count, "the notice")
    network.citoyens.run("patient", "reopen", ins, "--motif", "essai")
    again = martin.letter(durand.address)
    martin.send(again, durand.address)
    with durand.imap() as inbox:
        inbox.await_letter(again)


def test_mail_to_an_earlier_matricule_arrives_while_serving(network: Network) -> None:
    martin, durand = professional(network.cabinet), patient(network.citoyens)
    before, after = durand.address.partition("@")[0], new_ins()
    first = martin.letter(durand.address)
    martin.send(first, durand.address)
    with durand.imap() as inbox:
        inbox.await_letter(first)
    network.citoyens.run("patient", "matricule", before, "--nouveau", after, "--motif", "NIR attribue")
    moved = Person(f"{after}@{network.citoyens.domain}", durand.password, durand.operator)
    second = martin.letter(durand.address)
    martin.send(second, durand.address)
    for login in (moved, durand):
        with login.imap() as inbox:
            inbox.await_letter(second)
            assert inbox.count() == 2
    (exchange,) = network.citoyens.json("conversation", "list", "--patient", before, "--bal", martin.address)
    assert exchange["patient"] == moved.address
    for ins in (before, after):
        files = [network.citoyens.log, *(network.citoyens.directory / "data").rglob("*")]
        assert [str(file) for file in files if file.is_file() and ins.encode() in file.read_bytes()] == []


def test_a_parent_reads_and_answers_for_a_child(network: Network) -> None:
    martin, mother = professional(network.cabinet), patient(network.citoyens)
    child = new_ins()
    traits = ("--nom", "DURAND", "--prenoms", "Lea", "--naissance", "2024-01-15", "--sexe", "F", "--lieu", "75115")
    network.citoyens.run("patient", "create", child, *traits)
    address = f"{child}@{network.citoyens.domain}"
    letter = martin.letter(address)
    martin.send(letter, address)
    plain = f"{address}\0{mother.address}\0{mother.password}"
    with mother.smtp(sign_in=False) as session:
        session.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            session.auth("PLAIN", lambda _=None: plain)
    network.citoyens.run("patient", "parent", child, "--parent", mother.address.partition("@")[0])
    with mother.smtp(sign_in=False) as session:
        session.ehlo()
        assert session.auth("PLAIN", lambda _=None: plain)[0] == 235
        until(lambda: told_of(network.citoyens, martin.address, child), "the exchange at the citizens' host")
        assert answers(session, address, [martin.address]) == ["250 2.1.0", "250 2.1.5"]
        answer = Person(address, "", mother.operator).letter(martin.address)
        assert session.data(answer.octets)[0] == 250
    with martin.imap() as inbox:
        inbox.await_letter(answer)


def told_of(operator: Operator, professional: str, ins: str) -> bool:
    return bool(operator.json("conversation", "list", "--bal", professional, "--patient", ins))


class Relay:
    """A mail server of the Internet, in a thread of its own: what it took."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], Message]] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        assert self._ready.wait(120)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.taken.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 2.0.0 pris"

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        listen = self._loop.create_server(lambda: SMTP(self, loop=self._loop, hostname="relais"), HOST, 0)
        server = self._loop.run_until_complete(listen)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay()
    yield made
    made.close()


def test_a_citizen_is_told_once_of_many_messages_and_after_a_restart(own_network: Network, relay: Relay) -> None:
    citoyens, cabinet = own_network.citoyens, own_network.cabinet
    citoyens.set("patient_notices", host=HOST, port=1, tls="off", sender="ne-pas-repondre@example.org")
    own_network.serve(citoyens, cabinet)
    martin, durand = professional(cabinet), patient(citoyens)
    ins = durand.address.partition("@")[0]
    citoyens.run("patient", "notify", ins, "--email", "jeanne@example.org")
    letters = [martin.letter(durand.address, subject="Analyse de sang") for _ in range(20)]
    for letter in letters:
        martin.send(letter, durand.address)
    with durand.imap() as inbox:
        for letter in letters:
            inbox.await_letter(letter)
    # The relay was not there, and no mail waited for it; the server stops and starts, and then it is.
    assert citoyens.stop() == 0
    citoyens.set("patient_notices", port=relay.port)
    citoyens.start()
    citoyens.ready()
    until(lambda: relay.taken, "the notice")
    for letter in (martin.letter(durand.address) for _ in range(5)):
        martin.send(letter, durand.address)
        with durand.imap() as inbox:
            inbox.await_letter(letter)
    assert citoyens.stop() == 0
    assert [recipients for recipients, _ in relay.taken] == [["jeanne@example.org"]]
    for word in (ins, martin.address, "Analyse", "DURAND", "Jeanne"):
        assert word not in relay.taken[0][1].as_string()
    assert ins not in citoyens.log.read_text() and "jeanne@" not in citoyens.log.read_text()


def test_the_guard_lets_through_with_a_mark_when_it_is_soft(own_network: Network) -> None:
    cabinet, citoyens = own_network.cabinet, own_network.citoyens
    cabinet.set("rules", exchange_guard="soft")
    own_network.serve(cabinet, citoyens)
    martin, durand = professional(cabinet), patient(citoyens)
    letter = durand.letter(martin.address)
    with at_mx(cabinet, citoyens) as session:
        assert answers(session, durand.address, [martin.address]) == ["250 2.1.0", "250 2.1.5"]
        assert session.data(letter.octets)[0] == 250
    with martin.imap() as inbox:
        inbox.await_letter(letter)
        assert inbox.session.search(None, "KEYWORD", "$HorsEchange") == ("OK", [b"1"])
    assert told(durand, martin.address) == ["550 5.7.1"]  # his own operator holds him to it
