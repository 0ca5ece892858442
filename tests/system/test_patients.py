"""The charter's story between a professional and a patient of another operator, over MX, as both live it."""

from email.parser import BytesParser
from email.policy import default

import pytest

from tests.support.operators import Network, until
from tests.system.people import Letter, Person, answers, at_mx, brief, new_ins, patient, professional


def write(author: Person, reader: Person, **letter: str) -> Letter:
    """A message that is accepted and arrives."""
    written = author.letter(reader.address, **letter)
    author.send(written, reader.address)
    with reader.imap() as inbox:
        inbox.await_letter(written)
    return written


def told(author: Person, *to: str) -> list[str]:
    """What `author` is answered for each recipient."""
    with author.smtp() as session:
        sender, *recipients = answers(session, author.address, to)
    assert sender == "250 2.1.0"
    return recipients


@pytest.mark.parametrize(
    "ending",
    [
        {"subject": "[FIN]"},
        {"subject": " re: [ fin ] "},
        {"subject": "=?utf-8?B?UmXCoDogW0ZJTl0gRMOpYnV0?="},
        {"subject": "Clôture [Fin] de l'échange engagé à la consultation de l'été dernier, sans suite à donner"},
        {"subject": "Au revoir", "X_MSS_MES": "FIN"},
    ],
    ids=["plain", "blanks and case", "encoded word", "folded encoded words", "X-MSS-MES"],
)
def test_a_professional_opens_ends_and_reopens_an_exchange(network: Network, ending: dict[str, str]) -> None:
    martin, durand = professional(network.cabinet), patient(network.citoyens)
    write(martin, durand)
    write(durand, martin)
    write(durand, martin, subject="[FIN]")  # a patient's words end nothing
    write(durand, martin)
    write(martin, durand, **ending)
    assert told(durand, martin.address) == ["550 5.7.1"]
    assert states(network, martin, durand) == {("cabinet", "ended"), ("citoyens", "ended")}
    write(martin, durand, subject="Du nouveau")
    write(durand, martin)
    assert states(network, martin, durand) == {("cabinet", "open"), ("citoyens", "open")}


def states(network: Network, professional: Person, patient: Person) -> set[tuple[str, str]]:
    """The exchange of these two as each of their operators knows it."""
    ins = patient.address.partition("@")[0]
    found = set()
    for operator in (professional.operator, patient.operator):
        (exchange,) = operator.json("conversation", "list", "--bal", professional.address, "--patient", ins)
        assert (exchange["professional"], exchange["patient"]) == (professional.address, patient.address)
        found.add((operator.name, exchange["state"]))
    return found


def test_a_patient_answers_only_those_who_wrote(network: Network) -> None:
    martin, petit, noir = (professional(one) for one in (network.cabinet, network.clinique, network.cabinet))
    durand, leroy = patient(network.citoyens), patient(network.citoyens)
    assert told(durand, martin.address, leroy.address) == ["550 5.7.1", "550 5.7.1"]
    write(martin, durand)
    write(petit, leroy)
    # One is a partner in an open exchange, the others are not: only he gets it.
    letter = durand.letter(martin.address, petit.address)
    with durand.smtp() as session:
        asked = answers(session, durand.address, [martin.address, petit.address, noir.address, leroy.address])
        assert asked == ["250 2.1.0", "250 2.1.5", "550 5.7.1", "550 5.7.1", "550 5.7.1"]
        assert session.data(letter.octets)[0] == 250
    with martin.imap() as inbox:
        inbox.await_letter(letter)
    with petit.imap() as inbox:
        assert inbox.count() == 0
    # A patient who knows only what others may do is told the same of people who do not exist.
    assert told(durand, f"personne@{network.cabinet.domain}") == ["550 5.7.1"]


def test_the_professionals_operator_keeps_the_rule_even_if_the_citizens_host_did_not(network: Network) -> None:
    martin, durand = professional(network.cabinet), patient(network.citoyens)
    with at_mx(network.cabinet, network.citoyens) as session:
        assert answers(session, durand.address, [martin.address]) == ["250 2.1.0", "550 5.7.1"]
        session.rset()
        write(martin, durand)
        letter = durand.letter(martin.address)
        assert answers(session, durand.address, [martin.address]) == ["250 2.1.0", "250 2.1.5"]
        assert session.data(letter.octets)[0] == 250
        write(martin, durand, subject="[FIN]")
        assert answers(session, durand.address, [martin.address]) == ["250 2.1.0", "550 5.7.1"]
    with martin.imap() as inbox:
        inbox.await_letter(letter)


def test_an_exchange_that_ends_while_the_patient_writes_is_ended(network: Network) -> None:
    """Accepted at RCPT, refused after DATA (RFC 5321 leaves no other place for it)."""
    martin, durand = professional(network.cabinet), patient(network.citoyens)
    write(martin, durand)
    late = durand.letter(martin.address)
    with durand.smtp() as session:
        assert answers(session, durand.address, [martin.address]) == ["250 2.1.0", "250 2.1.5"]
        write(martin, durand, subject="[FIN]")
        assert brief(session.data(late.octets)) == "550 5.7.1"
    assert told(durand, martin.address) == ["550 5.7.1"]
    with martin.imap() as inbox:
        assert inbox.count() == 0


def test_an_ins_with_a_wrong_key_is_nobody(network: Network) -> None:
    martin = professional(network.cabinet)
    ins = new_ins()
    wrong = f"{ins[:13]}{(int(ins[13:]) + 1) % 98:02d}"
    short = ins[:14]
    domain = network.citoyens.domain
    assert told(martin, f"{wrong}@{domain}", f"{short}@{domain}") == ["550 5.1.3", "550 5.1.3"]
    with at_mx(network.citoyens, network.cabinet) as session:
        asked = answers(session, martin.address, [f"{wrong}@{domain}", f"{short}@{domain}", f"{ins}@{domain}"])
    assert asked == ["250 2.1.0", "550 5.1.3", "550 5.1.3", "550 5.1.1"]


def test_a_patient_without_a_mailbox_comes_back_as_a_notice(network: Network) -> None:
    martin = professional(network.cabinet)
    unknown = f"{new_ins()}@{network.citoyens.domain}"
    letter = martin.letter(unknown)
    martin.send(letter, unknown)
    with martin.imap() as inbox:
        until(inbox.count, "the notice")
        _, parts = inbox.session.fetch("1", "(BODY.PEEK[])")
        assert isinstance(parts[0], tuple)
        notice = BytesParser(policy=default).parsebytes(parts[0][1])
        assert inbox.count() == 1
    assert notice["Return-Path"] == "<>"
    assert notice.get_content_type() == "multipart/report"
    text, report, original = notice.iter_parts()
    _, recipient = report.iter_parts()
    assert recipient["Final-Recipient"] == f"rfc822; {unknown}"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert unknown in text.get_content()
    assert letter.message_id in original.as_string()


def test_a_citizens_mailbox_is_known_by_its_ins_in_no_file(network: Network) -> None:
    """ECO: no clear INS in the database, in the contents or in the log."""
    martin, durand = professional(network.cabinet), patient(network.citoyens)
    write(martin, durand)
    write(durand, martin)
    ins = durand.address.partition("@")[0].encode()
    for operator in (network.citoyens, network.cabinet):
        files = [operator.log, *(file for file in (operator.directory / "data").rglob("*") if file.is_file())]
        assert len(files) > 2
        assert [str(file) for file in files if ins in file.read_bytes()] == []
