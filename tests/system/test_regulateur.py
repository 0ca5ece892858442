"""The regulator beside two serving processes, on both databases: an abusive account is found by what is reported of it
and closed everywhere at once; what it did before stays where it was."""

import smtplib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.operators import Network, Operator, until
from tests.support.postgres import running_postgres
from tests.support.xdm import attached, xdm
from tests.system.pairs import at, beside, served
from tests.system.people import new_ins, patient, professional


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, own_network: Network) -> Iterator[tuple[Operator, Operator]]:
    """Two processes of the cabinet on one store, serving; the clinique, where mail goes, is away."""
    first = own_network.cabinet
    with ExitStack() as stack:
        server = stack.enter_context(running_postgres()) if request.param == "postgresql" else None
        second = stack.enter_context(beside(first, server))
        yield stack.enter_context(served(own_network, first, second))


def test_an_abusive_account_is_closed_everywhere(own_network: Network, pair: tuple[Operator, Operator]) -> None:
    first, second = pair
    abuser, victim = professional(first), professional(first)
    elsewhere = f"quelquun@{own_network.clinique.domain}"
    letter = abuser.letter(victim.address, elsewhere, subject="Gagnez", text="Cliquez ici.")
    abuser.send(letter, victim.address, elsewhere)

    with at(second, victim).imap() as inbox:
        inbox.await_letter(letter)
        assert inbox.session.store("1", "+FLAGS", "($Junk)")[0] == "OK"
    [reported] = first.json("regulateur", "signalements")
    assert (reported["account"], reported["kind"], reported["reporter"]) == (
        abuser.address,
        "indesirable",
        victim.address,
    )
    facts = until(
        lambda: (
            found if (found := first.json("regulateur", "examine", abuser.address))["sent_today"]["messages"] else None
        ),
        "the day's counts",
    )
    assert facts["sent_today"] == {"messages": 1, "recipients": 2, "new_recipients": 2}
    assert (facts["queued"], facts["reporters"], facts["signalements"]["indesirable"]) == (1, 1, 1)
    assert "Gagnez" not in str(facts) and "Cliquez" not in str(facts)

    with abuser.imap() as one, at(second, abuser).imap() as other, at(second, abuser).smtp() as smtp:
        other.session.send(b"i1 IDLE\r\n")
        assert other.session.readline().startswith(b"+")
        first.run("regulateur", "clore", abuser.address, "--motif", "envois en nombre", "--author", "a.regul")
        assert one.bye().startswith(b"* BYE")
        assert any(other.bye().startswith(b"* BYE") for _ in range(4))  # the regulator's letter is told first
        assert until(lambda: smtp.noop()[0] == 421 if smtp.sock else True, "the end of the SMTP session")
        smtp.close()
    for operator in pair:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            at(operator, abuser).smtp()
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (535, b"5.7.8")
    [item] = first.json("queue", "list")
    assert item["state"] == "held"
    assert "compte clos" in str(first.json("queue", "show", str(item["id"])))
    assert first.json("regulateur", "signalements") == []
    with victim.imap() as inbox:
        assert inbox.count() == 2
        _, parts = inbox.session.fetch("2", "(BODY.PEEK[])")
        assert b"Suite de votre signalement" in parts[0][1]  # type: ignore[index]

    assert first.command("regulateur", "clore", abuser.address, "--motif", "encore").code == 1
    first.run("regulateur", "rouvrir", abuser.address, "--motif", "recours", "--author", "b.regul")
    until(lambda: first.json("queue", "list")[0]["state"] != "held", "the mail to go on")
    with abuser.imap() as inbox:
        assert inbox.count() == 2  # what the regulator had to say to him
    acts = [(act["action"], act["actor"]) for act in first.json("regulateur", "journal")]
    assert acts == [("bal.closed", "regulateur:a.regul"), ("bal.reopened", "regulateur:b.regul")]
    assert (first.command("verify").code, first.command("audit", "verify").code) == (0, 0)


def test_two_persons(own_network: Network) -> None:
    here = own_network.cabinet
    here.set("regulateur", two_persons=True)
    own_network.serve(here)
    abuser = professional(here)
    clore = ("regulateur", "clore", abuser.address, "--motif", "abus", "--author")
    with abuser.imap() as inbox:
        assert here.run(*clore, "a").startswith("proposed")
        again = here.command(*clore, "a")
        assert again.code == 1 and "another person" in again.err
        assert inbox.session.noop()[0] == "OK"
        assert here.run(*clore, "b").startswith("closed")
        assert inbox.bye().startswith(b"* BYE")


def test_the_same_letter_by_two_processes(own_network: Network, pair: tuple[Operator, Operator]) -> None:
    first, second = pair
    author, text = professional(first), "Venez nombreux a notre soiree de presentation, jeudi a vingt heures."
    people = [f"p{number}@{own_network.clinique.domain}" for number in range(41)]
    author.send(author.letter(*people[:25], text=text), *people[:25])
    at(second, author).send(author.letter(*people[25:40], text=text, subject="Rappel"), *people[25:40])
    for operator in pair:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            at(operator, author).send(author.letter(people[40], text=text), people[40])
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (554, b"5.5.3")
    assert [one["kind"] for one in first.json("regulateur", "signalements")] == ["fractionnement"]


def test_the_wrong_patients_archive_stays(network: Network) -> None:
    author, citizen = professional(network.cabinet), patient(network.citoyens)
    for matricule in (new_ins(), citizen.address.partition("@")[0]):
        archive = ("IHE_XDM.zip", "application/zip", xdm(matricule))
        message = attached(author.address, f"<{citizen.address}>", archive)
        if citizen.address.startswith(matricule):
            author.send(message, citizen.address)
            continue
        with pytest.raises(smtplib.SMTPDataError) as refused:
            author.send(message, citizen.address)
        assert refused.value.smtp_code == 550
        assert refused.value.smtp_error.startswith(b"5.7.1 Document d'un autre patient")
        assert refused.value.smtp_error.endswith(b" : IHE_XDM.zip, IHE_XDM/SUBSET01/METADATA.XML")
    with citizen.imap() as inbox:
        assert until(inbox.count, "the right one") == 1
