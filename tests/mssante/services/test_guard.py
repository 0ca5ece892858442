"""The wrong-patient guard: a patient receives no document of another, whoever sends it, and the sender reads which."""

import pytest

from mssante.domain.address import parse_address
from mssante.domain.ins import ins_key
from mssante.domain.replies import reply_for
from mssante.domain.verdict import Refuse, Rule
from mssante.services.arrival import Stored
from mssante.services.guard import Guard
from mssante.store.patients import Authority, Identity, NewPatient, change_matricule, create_patients, patient
from mssante.store.verify import verify
from tests.mssante.services.conftest import COLLEAGUE, DOCTOR, PATIENT, PATIENTS, SECRETARY, Cabinet
from tests.support.xdm import NIR, attached, cda, metadata, xdm, zipped

INES = PATIENT.partition("@")[0]
OMAR = f"1531245007231{ins_key('1531245007231'):02}"
ZIP = "application/zip"


def carrying(octets: bytes, name: str = "IHE_XDM.zip", sender: str = DOCTOR) -> bytes:
    return attached(sender, f"<{PATIENT}>", (name, ZIP, octets))


async def test_the_document_of_another_patient_is_refused_and_named(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    refused = await cabinet.send(caller, DOCTOR, [PATIENT], carrying(xdm(INES, cda_of=OMAR)))
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.DOCUMENT_OTHER_PATIENT
    line = str(reply_for(refused))
    assert line.startswith("550 5.7.1 ")
    assert line.endswith(" : IHE_XDM.zip, IHE_XDM/SUBSET01/DOC00001.XML")
    assert OMAR not in line + refused.reason
    assert cabinet.inbox(PATIENT) == []
    found = verify(cabinet.store)
    assert (found.messages, found.faults, found.orphans) == (0, [], 0)
    assert cabinet.intake.guard.refused == 1


@pytest.mark.parametrize("piece", [0, 1000])
async def test_a_patients_own_documents_arrive_untouched(cabinet: Cabinet, piece: int) -> None:
    message = carrying(xdm(INES, more={"IHE_XDM/SUBSET01/DOC2.PDF": bytes(range(256)) * 1000}))
    assert isinstance(await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], message, piece=piece), Stored)
    [read] = cabinet.inbox(PATIENT)
    assert read.endswith(message.partition(b"From:")[2])
    for field in (b"X-MSS-CODECDA: 34112-3", b"X-MSS-INS: O", b"X-MSS-NIL: DEV000000", b"Subject: XDM/1.0/DDM+Compte"):
        assert b"\r\n" + field in read


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/html; charset=utf-8", "application/zip; text=plain"],
)
async def test_what_a_message_calls_its_file_does_not_count(cabinet: Cabinet, kind: str) -> None:
    refused = await cabinet.send(
        await cabinet.signed_in(), DOCTOR, [PATIENT], attached(DOCTOR, f"<{PATIENT}>", ("a.zip", kind, xdm(OMAR)))
    )
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.DOCUMENT_OTHER_PATIENT


async def test_a_parameter_is_no_part_of_text(cabinet: Cabinet) -> None:
    """Neither a name nor a disposition says that it is a file."""
    message = attached(DOCTOR, f"<{PATIENT}>", ("a", "application/zip", xdm(OMAR)))
    for gone in (b'; name="a"', b'Content-Disposition: attachment; filename="a"\r\n'):
        message = message.replace(gone, b"; text=plain" if gone.startswith(b";") else b"")
    refused = await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], message)
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.DOCUMENT_OTHER_PATIENT


async def test_octets_before_an_archive_do_not_hide_it(cabinet: Cabinet) -> None:
    refused = await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], carrying(b"MZ" * 400 + xdm(OMAR)))
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.DOCUMENT_OTHER_PATIENT


async def test_a_large_archive_is_read_back_from_its_segment(cabinet: Cabinet) -> None:
    more = {"IHE_XDM/SUBSET01/DOC2.PDF": bytes(range(251)) * 1200}
    caller = await cabinet.signed_in()
    refused = await cabinet.send(caller, DOCTOR, [PATIENT], carrying(xdm(INES, cda_of=OMAR, more=more)), piece=9000)
    assert isinstance(refused, Refuse)
    assert [file for file in cabinet.store.contents.root.rglob("m*") if file.is_file()] == []


async def test_an_archive_that_cannot_be_read_is_refused(cabinet: Cabinet) -> None:
    refused = await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], carrying(xdm(INES)[:-30]))
    assert isinstance(refused, Refuse)
    assert (refused.rule, refused.named) == (Rule.DOCUMENT_UNREADABLE, "IHE_XDM.zip (archive endommagee)")


async def test_a_document_in_the_text_itself(cabinet: Cabinet) -> None:
    """No attachment, no name, no type."""
    message = f"From: <{DOCTOR}>\r\nTo: <{PATIENT}>\r\n\r\nBonjour.\r\n\r\n".encode() + cda((OMAR, NIR))
    refused = await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], message)
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.DOCUMENT_OTHER_PATIENT


@pytest.mark.parametrize("size", [100, 200_000])
async def test_small_messages_that_hold_much(cabinet: Cabinet, size: int) -> None:
    """What a few kilobytes unpack to is looked at as far as in any other message."""
    filler = b"<templateId root='1.2'/>" * (size // 24)
    document = cda((OMAR, NIR)).replace(b"<recordTarget>", filler + b"<recordTarget>")
    message = carrying(zipped({"IHE_XDM/METADATA.XML": metadata(INES), "IHE_XDM/D.XML": document}))
    assert len(message) < 16_384
    refused = await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], message)
    assert isinstance(refused, Refuse)
    assert refused.named.startswith("IHE_XDM.zip, IHE_XDM/D.XML")


async def test_what_comes_from_another_operator_is_read_too(cabinet: Cabinet) -> None:
    message = carrying(cda((OMAR, NIR)), "compte-rendu.xml", COLLEAGUE)
    refused = await cabinet.send(cabinet.colleague, COLLEAGUE, [PATIENT], message)
    assert isinstance(refused, Refuse)
    assert refused.named == "compte-rendu.xml"


async def test_professionals_receive_documents_of_any_patient(cabinet: Cabinet) -> None:
    assert isinstance(
        await cabinet.send(await cabinet.signed_in(), DOCTOR, [SECRETARY, COLLEAGUE], carrying(xdm(OMAR))), Stored
    )


async def test_warn_and_off(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    for action, counted in (("warn", 1), ("off", 0)):
        cabinet.intake.guard = Guard(cabinet.store, action)  # type: ignore[arg-type]
        assert isinstance(await cabinet.send(caller, DOCTOR, [PATIENT], carrying(xdm(OMAR))), Stored)
        assert cabinet.intake.guard.refused == counted


async def test_earlier_matricules_are_the_same_patient(cabinet: Cabinet) -> None:
    """Documents made before and after a matricule changed, sent to either address."""
    before = f"{OMAR}@{PATIENTS}"
    after_ins = f"1531245007299{ins_key('1531245007299'):02}"
    identity = Identity(ins=OMAR, nom="EXEMPLE", prenoms="Omar", naissance="1953-12-01", sexe="M", lieu="45007")

    def certified(tx):  # type: ignore[no-untyped-def]
        [bal_id] = create_patients(tx, [NewPatient(parse_address(before), identity)])
        known = patient(tx.conn, bal_id)
        assert known is not None
        change_matricule(tx, known, parse_address(f"{after_ins}@{PATIENTS}"), Authority.NIR)

    cabinet.store.write_now(certified)
    caller = await cabinet.signed_in()
    for to in (before, f"{after_ins}@{PATIENTS}"):
        for named in (OMAR, after_ins):
            assert isinstance(await cabinet.send(caller, DOCTOR, [to], carrying(xdm(named))), Stored)
        assert isinstance(await cabinet.send(caller, DOCTOR, [to], carrying(xdm(INES))), Refuse)


async def test_one_usager_a_message(cabinet: Cabinet) -> None:
    caller = await cabinet.signed_in()
    other = f"{OMAR}@{PATIENTS}"
    refused = await cabinet.send(caller, DOCTOR, [PATIENT, PATIENT.upper(), SECRETARY, other], carrying(xdm(INES)))
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.RECIPIENTS_ONE_USAGER
