"""Commands of another process while an operator serves: what they change holds at once, for open sessions too."""

import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.operators import Network, Operator, until
from tests.system.people import TIMEOUT_S, Person, answers, at_mx, brief, patient, professional, with_luhn


def test_a_new_mailbox_receives_at_once(network: Network) -> None:
    martin, address = professional(network.cabinet), f"nouveau@{network.clinique.domain}"
    letter = martin.letter(address)
    with at_mx(network.clinique, network.cabinet) as session:
        assert answers(session, martin.address, [address]) == ["250 2.1.0", "550 5.1.1"]
        network.clinique.run("bal", "create", address, "--type", "PER", "--password-stdin", given="mot de passe")
        assert brief(session.rcpt(address)) == "250 2.1.5"
        assert session.data(letter.octets)[0] == 250
    with Person(address, "mot de passe", network.clinique).imap() as inbox:
        inbox.await_letter(letter)


@pytest.mark.parametrize(
    "command", [("bal", "suspend"), ("bal", "close"), ("regulateur", "clore")], ids=["suspended", "closed", "clos"]
)
def test_sessions_of_an_account_that_is_closed_end(network: Network, command: tuple[str, str]) -> None:
    noir, martin = professional(network.cabinet), professional(network.cabinet)
    with noir.smtp() as sending, noir.smtp() as writing, noir.imap() as reading, martin.imap() as untouched:
        assert answers(writing, noir.address, [martin.address]) == ["250 2.1.0", "250 2.1.5"]
        network.cabinet.run(*command, noir.address, "--motif", "sollicitations en nombre")
        for session in (sending, writing):
            assert session.sock is not None
            session.sock.settimeout(TIMEOUT_S)
            assert brief(session.getreply()) == "421 4.7.0"
            session.close()
        assert reading.bye().startswith(b"* BYE ")
        assert untouched.count() == 0
    with pytest.raises(smtplib.SMTPAuthenticationError, match=r"^\(535, b'5\.7\.8 "):
        noir.smtp()
    with at_mx(network.cabinet, network.clinique) as session:
        receives = "250 2.1.5" if command[1] == "suspend" else "550 5.2.1"
        assert answers(session, f"qui@{network.clinique.domain}", [noir.address]) == ["250 2.1.0", receives]


def test_a_suspended_mailbox_reopens_with_the_mail_that_came_meanwhile(network: Network) -> None:
    noir, martin = professional(network.clinique), professional(network.cabinet)
    network.clinique.run("bal", "suspend", noir.address, "--motif", "absence")
    letter = martin.letter(noir.address)
    martin.send(letter, noir.address)
    until(lambda: network.cabinet.json("queue", "list") == [], "the letter handed over")
    network.clinique.run("bal", "reopen", noir.address)
    with noir.imap() as inbox:
        inbox.await_letter(letter)


def test_the_regulator_closes_for_a_reason_and_reopens(network: Network) -> None:
    durand = patient(network.citoyens)
    network.citoyens.run("regulateur", "clore", durand.address, "--motif", "usurpation")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        durand.smtp()
    assert network.citoyens.command("bal", "reopen", durand.address).code == 1
    network.citoyens.run("regulateur", "rouvrir", durand.address, "--motif", "erreur")
    durand.smtp().close()
    clore, rouvrir = network.citoyens.json("regulateur", "journal")[-2:]
    assert (clore["motif"], rouvrir["motif"]) == ("usurpation", "erreur")
    assert durand.address.partition("@")[0] not in str([clore, rouvrir])


def test_an_old_password_is_forgotten_at_once(network: Network) -> None:
    martin = professional(network.cabinet)
    for _ in range(2):  # the second time from memory
        martin.smtp().close()
        martin.imap().session.shutdown()
    network.cabinet.run("bal", "password", martin.address, "--password-stdin", given="un autre secret")
    with pytest.raises(smtplib.SMTPAuthenticationError, match=r"^\(535, b'5\.7\.8 "):
        martin.smtp()
    with pytest.raises(Exception, match=r"AUTHENTICATIONFAILED"):
        martin.imap()
    changed = Person(martin.address, "un autre secret", network.cabinet)
    changed.smtp().close()
    changed.imap().session.shutdown()


def test_the_queue_waits_for_a_peer_that_is_down(own_network: Network) -> None:
    """Shown while it waits, tried again when told, and after kill -9; each letter arrives, once."""
    here, there = own_network.cabinet, own_network.clinique
    own_network.serve(here)
    martin, petit = professional(here), professional(there)
    letters = [martin.letter(petit.address) for _ in range(3)]
    for letter in letters:
        martin.send(letter, petit.address)
    waiting = until(lambda: tried(here), "an attempt for each")
    assert {(item["sender"], item["recipient"], item["state"]) for item in waiting} == {
        (martin.address, petit.address, "queued")
    }
    assert len(waiting) == 3
    first = waiting[0]["id"]
    shown = here.json("queue", "show", str(first))
    assert shown["attempts"] == 1 and shown["last_reply"]
    assert petit.address in here.run("queue", "list")
    there.start()
    there.ready()
    assert here.run("queue", "retry", str(first)) == "1 due now\n"
    with petit.imap() as inbox:
        until(lambda: inbox.count() == 1, "the one letter")
        until(lambda: here.json("queue", "show", str(first))["state"] == "sent", "its end in the queue")
        assert [item["id"] for item in here.json("queue", "list")] == [item["id"] for item in waiting[1:]]
        here.kill()
        here.start()
        here.ready()
        here.run("queue", "retry", "--all")
        for letter in letters:
            inbox.await_letter(letter)
        until(lambda: here.json("queue", "list") == [], "an empty queue")
        assert inbox.count() == 3
    assert here.command("queue", "retry", str(first)).code == 1
    assert here.command("queue", "show", "999").code == 1


def tried(operator: Operator) -> list[dict[str, object]]:
    """The queue, once every item was tried."""
    items: list[dict[str, object]] = operator.json("queue", "list")
    return items if all(item["attempts"] for item in items) else []


def test_the_trust_space_as_this_operator_sees_it(network: Network) -> None:
    status = network.clinique.json("liste-blanche", "status")
    assert (status["in_force"], status["entries"], status["domains"]) == (True, 3, 3)
    (entry,) = network.clinique.json("liste-blanche", "show", network.cabinet.domain)
    assert entry["domain"] == network.cabinet.domain and "CN=mx.cabinet.mssante.example" in entry["dn"]
    assert network.clinique.command("liste-blanche", "show", "inconnu.example").code == 1


def test_the_doctor_finds_all_well_while_it_serves(network: Network) -> None:
    for operator in network.operators:
        findings = operator.json("doctor")
        assert [each for each in findings if each["verdict"] == "fault"] == []
        assert {"configuration", "certificate", "revocation", "white list", "store", "port"} <= {
            each["check"] for each in findings
        }


def test_commands_of_several_processes_and_mail_at_once(network: Network) -> None:
    """Nobody waits for a lock so long that he is refused."""
    cabinet = network.cabinet
    martin, petit = professional(cabinet), professional(cabinet)
    letters = [martin.letter(petit.address) for _ in range(60)]

    def create(number: int) -> None:
        address = f"a-plusieurs-{number}@{cabinet.domain}"
        done = cabinet.process("bal", "create", address, "--type", "PER", "--rpps", with_luhn(f"81000000{number:02d}"))
        assert (done.code, done.err) == (0, "")

    with ThreadPoolExecutor(4) as pool:
        created = [pool.submit(create, number) for number in range(3)]
        with martin.smtp() as session:
            for letter in letters:
                assert not session.sendmail(martin.address, [petit.address], letter.octets)
        for one in created:
            one.result()
    with petit.imap() as inbox:
        assert inbox.message_ids() == [letter.message_id for letter in letters]
    assert cabinet.command("verify").code == 0
