"""Whose documents a message carries: honest archives, broken ones, hostile ones."""

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.documents import Document, Fault
from mssante.domain.ins import ins_key
from mssante.mime import xdm
from mssante.mime.scanner import Scanner
from tests.support.xdm import IPP, NIR, attached, cda, metadata, zipped
from tests.support.xdm import xdm as archive

INES = f"2550814168025{ins_key('2550814168025'):02}"
OMAR = f"1531245007231{ins_key('1531245007231'):02}"
ZIP, XML = "application/zip", "text/xml"


def found(message: bytes) -> list[Document]:
    scanner = Scanner()
    scanner.feed(message)
    return xdm.documents(lambda start, length: message[start : start + length], scanner.finish())


def of(*files: tuple[str, str, bytes]) -> list[Document]:
    return found(attached("a@b.test", "<c@d.test>", *files))


def fault(octets: bytes, name: str = "IHE_XDM.zip") -> str:
    return next((one.fault for one in of((name, ZIP, octets)) if one.fault is not None), "")


def test_an_archive_names_its_patient_twice() -> None:
    assert of(("IHE_XDM.zip", ZIP, archive(INES))) == [
        Document("IHE_XDM.zip, IHE_XDM/SUBSET01/METADATA.XML", frozenset({INES})),
        Document("IHE_XDM.zip, IHE_XDM/SUBSET01/DOC00001.XML", frozenset({INES})),
    ]


def test_each_document_names_its_own_patient() -> None:
    assert [one.matricules for one in of(("IHE_XDM.zip", ZIP, archive(INES, cda_of=OMAR)))] == [{INES}, {OMAR}]


@pytest.mark.parametrize("name", ["resultats.xml", "sans-suffixe"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\r\n  ", b"\r\n" * 200])
def test_a_cda_document_alone(name: str, mark: bytes) -> None:
    octets = cda((INES.lower(), NIR)).replace(b'<?xml version="1.0" encoding="UTF-8"?>', b"")
    assert of((name, "application/octet-stream", mark + octets)) == [Document(name, frozenset({INES}))]


def test_other_encodings() -> None:
    plain = cda((INES, NIR)).replace(b' encoding="UTF-8"', b"").decode()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        assert of(("a.xml", XML, plain.encode(encoding))) == [Document("a.xml", frozenset({INES}))]
    latin = plain.replace("?>", ' encoding="ISO-8859-1"?>', 1).replace("EXEMPLE", "ÉXEMPLE").encode("latin-1")
    assert of(("a.xml", XML, latin)) == [Document("a.xml", frozenset({INES}))]


@pytest.mark.parametrize("last", [8, 9, 10, 11])
def test_the_authorities_of_the_ins(last: int) -> None:
    oid = f"1.2.250.1.213.1.4.{last}"
    assert of(("a.xml", XML, cda((INES, oid))))[0].matricules == {INES}
    assert of(("IHE_XDM.zip", ZIP, zipped({"METADATA.XML": metadata(INES, oid)})))[0].matricules == {INES}


def test_local_identifiers_name_nobody() -> None:
    # the old INS-C is no INS either (facts 5)
    assert of(("a.xml", XML, cda((INES, IPP), (OMAR, "1.2.250.1.213.1.4.2")))) == [Document("a.xml")]
    assert of(("IHE_XDM.zip", ZIP, zipped({"METADATA.XML": metadata("123", IPP)})))[0].matricules == frozenset()


def test_identifiers_of_others_in_a_document_do_not_count() -> None:
    octets = cda((INES, NIR)).replace(
        b"</recordTarget>",
        b"</recordTarget><informant><id extension='%s' root='%s'/></informant>" % (OMAR.encode(), NIR.encode()),
    )
    assert of(("a.xml", XML, octets)) == [Document("a.xml", frozenset({INES}))]


def test_what_is_no_health_document() -> None:
    assert (
        of(
            ("photo.jpg", "image/jpeg", b"\xff\xd8\xff" + bytes(1000)),
            ("page.xml", XML, b"<html><body/></html>"),
            ("broken.xml", XML, b"<html><body>"),
            ("dtd.svg", XML, b'<!DOCTYPE svg [<!ENTITY a "b">]><svg/>'),
            ("photos.zip", ZIP, zipped({"a.jpg": bytes(1000), "b.xml": b"<a/>", "c.zip": zipped({"d": b"e"})})),
        )
        == []
    )


def test_a_document_in_a_forwarded_message() -> None:
    inner = attached("x@y.test", "<c@d.test>", ("IHE_XDM.zip", ZIP, archive(OMAR)))
    message = b"From: <a@b.test>\r\nContent-Type: message/rfc822\r\n\r\n" + inner
    assert {one.matricules for one in found(message)} == {frozenset({OMAR})}


def test_stored_members_and_octets_before_the_archive() -> None:
    octets = zipped({"METADATA.XML": metadata(INES), "D.XML": cda((INES, NIR))}, deflate=False)
    assert [one.matricules for one in of(("IHE_XDM.zip", ZIP, octets))] == [{INES}, {INES}]


def test_a_name_is_kept_as_written() -> None:
    assert of(("Résumé d'épisode.xml", XML, cda((INES, NIR))))[0].shown == "Resume d'episode.xml"
    assert Document("a\r\n550 b").shown == "a??550 b"
    assert len(Document("é" * 500).shown) <= 120


# --- broken and hostile


LAUGHS = (
    b'<!DOCTYPE ClinicalDocument [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><ClinicalDocument>&b;</ClinicalDocument>'
)
OUTSIDE = b'<!DOCTYPE ClinicalDocument SYSTEM "file:///etc/passwd"><ClinicalDocument/>'


@pytest.mark.parametrize("octets", [LAUGHS, OUTSIDE])
def test_a_document_type_is_refused(octets: bytes) -> None:
    assert of(("a.xml", XML, octets)) == [Document("a.xml", fault=Fault.DOCTYPE)]
    assert "document type" in fault(zipped({"METADATA.XML": octets}))


def test_xml_beyond_bounds() -> None:
    deep = b"<ClinicalDocument>" + b"<a>" * 300
    assert of(("a.xml", XML, deep))[0].fault is Fault.XML_BOUNDS
    long = b"<ClinicalDocument>" + b"<a/>" * 600_000
    assert of(("a.xml", XML, long))[0].fault is Fault.XML_BOUNDS
    one_value = b'<ClinicalDocument><id extension="' + b"x" * 3_000_000
    assert of(("a.xml", XML, one_value))[0].fault is Fault.XML_BOUNDS
    assert of(("a.xml", XML, b"<ClinicalDocument><recordTarget>"))[0].fault is Fault.XML
    assert of(("a.xml", XML, b"<ClinicalDocument><a></b>"))[0].fault is Fault.XML


def test_a_cda_is_read_no_further_than_its_header() -> None:
    octets = cda((INES, NIR)).partition(b"<component>")[0] + b"<component>" + b"<x>" * 100_000
    assert of(("a.xml", XML, octets)) == [Document("a.xml", frozenset({INES}))]


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"PK\x03\x04", "no end"),
        (archive(INES)[:-200], "no end"),
        (zipped({"METADATA.XML": b"<SubmitObjectsRequest>"}), "XML:"),
        (zipped({"METADATA.XML": b"<html/>"}), "no submission set"),
        (zipped({"README.TXT": b"a"}), "without METADATA.XML"),
        (archive(INES, more={"autre.zip": b"x"}), "no end"),
        (archive(INES, more={"DOC2.PDF": bytes(10_000_000)}), "compressed more than"),
        (zipped({f"{number}": b"" for number in range(2001)}), "beyond bounds"),
        (
            zipped({"METADATA.XML": metadata(INES), **{"x" * 60_000 + str(number): b"" for number in range(18)}}),
            "bounds",
        ),
    ],
)
def test_archives_that_cannot_be_vouched_for(octets: bytes, said: str) -> None:
    assert said in fault(octets)


def altered(octets: bytes, at: bytes, offset: int, value: bytes) -> bytes:
    """`value` in the place of what is `offset` after the first `at`."""
    start = octets.index(at) + offset
    return octets[:start] + value + octets[start + len(value) :]


@pytest.mark.parametrize(
    ("at", "offset", "value", "said"),
    [
        (b"PK\x01\x02", 8, b"\x01\x00", "encrypted"),
        (b"PK\x01\x02", 10, b"\x0c\x00", "or not what"),
        (b"PK\x01\x02", 42, b"\xff\xff\xff\x00", "not where"),
        (b"PK\x01\x02", 0, b"XX", "broken directory"),
        (b"PK\x01\x02", 24, b"\xff\xff\xff\xff", "or not what"),
        (b"PK\x01\x02", 20, b"\x20\x00\x00\x00", "or not what"),
        (b"PK\x05\x06", 16, b"\xff\xff\xff\xff", "beyond bounds"),
        (b"PK\x05\x06", 10, b"\xff\xff", "beyond bounds"),
        (b"PK\x05\x06", 4, b"\x01\x00", "beyond bounds"),
    ],
)
def test_altered_archives(at: bytes, offset: int, value: bytes, said: str) -> None:
    assert said in fault(altered(zipped({"METADATA.XML": metadata(INES)}), at, offset, value))


def test_a_member_that_does_not_inflate() -> None:
    octets = zipped({"METADATA.XML": metadata(INES)})
    start = octets.index(b"METADATA.XML") + len("METADATA.XML")
    assert "does not inflate" in fault(octets[:start] + b"\xff\xff\xff\xff" + octets[start + 4 :])


def test_a_bomb_that_lies_about_its_size() -> None:
    """The directory declares little; the ratio is measured while it inflates."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(b"<SubmitObjectsRequest>" + b" " * 1_900_000) + bomb.flush()
    octets = zipped({"METADATA.XML": b"<SubmitObjectsRequest>" + b" " * 1_900_000})
    real = struct.pack("<L", 1_900_022)
    assert octets.count(real) == 2
    assert "compressed more than" in fault(octets.replace(real, struct.pack("<L", 9)))
    assert len(packed) < 10_000


def test_many_documents_share_one_budget() -> None:
    filler = b"".join(b"<a%d/>" % number for number in range(120_000))
    assert len(filler) > 1_000_000
    octets = zipped(
        {
            "METADATA.XML": metadata(INES),
            **{f"{n}.XML": b"<ClinicalDocument>" + filler + b"</ClinicalDocument>" for n in range(20)},
        }
    )
    assert "to inflate" in fault(octets)


def test_a_bomb_costs_no_memory() -> None:
    message = attached("a@b.test", "<c@d.test>", ("IHE_XDM.zip", ZIP, zipped({"METADATA.XML": bytes(200_000_000)})))
    scanner = Scanner()
    scanner.feed(message)
    card = scanner.finish()
    tracemalloc.start()
    try:
        assert xdm.documents(lambda start, length: message[start : start + length], card)[0].fault
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


ARCHIVE = archive(INES)


@given(st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_an_altered_archive_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    octets = bytearray(ARCHIVE)
    for at, value in changes:
        octets[at] = value
    assert of(("IHE_XDM.zip", ZIP, bytes(octets)))


@given(st.integers(0, len(ARCHIVE) - 1))
def test_a_cut_archive_is_unreadable(length: int) -> None:
    if length >= 4:
        assert of(("IHE_XDM.zip", ZIP, ARCHIVE[:length]))[0].fault


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    of(("IHE_XDM.zip", "application/xml", octets))
    of(("a.xml", "application/xml", b"<" + octets))
    for archived in (octets, octets + b"PK\x05\x06" + octets):
        assert of(("IHE_XDM.zip", ZIP, b"PK\x03\x04" + archived))
