"""What hides a document of another patient from a reader that trusts what a message says of itself.

Each message carries a document of Omar. Either he is found, or the document is said to be unreadable; and ordinary
files, some of which look a little alike, are nobody's.
"""

import base64
import binascii
import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib

import pytest

from mssante.domain.documents import Document, Fault
from mssante.domain.ins import ins_key
from mssante.mime import xdm
from mssante.mime.scanner import Scanner
from tests.support.xdm import NIR, attached, cda, metadata, zipped
from tests.support.xdm import xdm as archive

OMAR = f"1531245007231{ins_key('1531245007231'):02}"
INES = f"2550814168025{ins_key('2550814168025'):02}"
CDA = cda((OMAR, NIR))
XDM = archive(OMAR)
OPAQUE = "application/octet-stream"


def found(message: bytes) -> list[Document]:
    scanner = Scanner()
    scanner.feed(message)
    return xdm.documents(lambda start, length: message[start : start + length], scanner.finish())


def told(message: bytes) -> list[str]:
    """Each document's patient, or why it has none."""
    return [one.fault or "".join(one.matricules) for one in found(message)]


def part(header: str, body: bytes) -> bytes:
    return (
        b'From: <a@b.test>\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        + header.encode()
        + b"\r\n\r\n"
        + body
        + b"\r\n--b--\r\n"
    )


def digits(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def uu(octets: bytes) -> bytes:
    lines = [binascii.b2a_uu(octets[at : at + 45]) for at in range(0, len(octets), 45)]
    return b"begin 644 a.zip\r\n" + b"".join(line.replace(b"\n", b"\r\n") for line in lines) + b"`\r\nend\r\n"


def file(name: str, octets: bytes, kind: str = OPAQUE) -> bytes:
    return attached("a@b.test", "<c@d.test>", (name, kind, octets))


def nested(octets: bytes, times: int) -> bytes:
    for _ in range(times):
        octets = zipped({"a.zip": octets})
    return octets


WITHIN = attached("x@y.test", "<c@d.test>", ("IHE_XDM.zip", "application/zip", XDM))
BASE64 = "Content-Transfer-Encoding: base64"


HIDDEN = {
    "zip in a zip": file("a.zip", zipped({"b.zip": XDM})),
    "zip in a zip, stored": file("a.zip", zipped({"b.zip": XDM}, deflate=False)),
    "zip in a zip without its name": file("a.zip", zipped({"photo.jpg": XDM})),
    "six zips": file("a.zip", nested(XDM, 6)),
    "gzip": file("cda.xml.gz", gzip.compress(CDA)),
    "gzip without its name": file("photo.jpg", gzip.compress(CDA), "image/jpeg"),
    "gzip of several members": file("a.gz", gzip.compress(CDA[:9]) + gzip.compress(b"") + gzip.compress(CDA[9:])),
    "gzip of a zip": file("a.gz", gzip.compress(XDM)),
    "gzip in a zip": file("a.zip", zipped({"a.gz": gzip.compress(CDA)})),
    "member without suffix": file("a.zip", zipped({"document": CDA})),
    "message in base64": part("Content-Type: message/rfc822\r\n" + BASE64, digits(WITHIN)),
    "message in quoted-printable": part(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable",
        binascii.b2a_qp(WITHIN.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"),
    ),
    "the whole message in base64": b"From: <a@b.test>\r\nContent-Type: message/rfc822\r\n"
    + BASE64.encode()
    + b"\r\n\r\n"
    + digits(WITHIN),
    "message/global": part("Content-Type: message/global\r\n" + BASE64, digits(WITHIN)),
    "eml": file("lettre.eml", WITHIN),
    "eml without its name": file("lettre", WITHIN),
    "eml after an mbox line": file("lettre", b"From a@b.test Mon Jan  1 00:00:00 2026\r\n" + WITHIN),
    "eml in a zip": file("a.zip", zipped({"lettre": WITHIN})),
    "eml in an eml": file("lettre.eml", file("lettre", WITHIN)),
    "two encodings": part("Content-Transfer-Encoding: 7bit\r\n" + BASE64, digits(XDM)),
    "two encodings, the other way": part(BASE64 + "\r\nContent-Transfer-Encoding: 7bit", CDA),
    "encoding after a comment": part("Content-Transfer-Encoding: (x) base64", digits(XDM)),
    "encoding nobody knows": part("Content-Transfer-Encoding: x-base64", digits(XDM)),
    "uuencode": part("Content-Transfer-Encoding: x-uuencode", uu(XDM)),
    "uuencode in a text": part("Content-Type: text/plain", b"Bonjour.\r\n\r\n" + uu(XDM)),
    "uuencode that nothing announces": part("Content-Type: text/plain", uu(XDM)),
    "base64 of a zip in a text": part("Content-Type: text/plain", b"Bonjour.\r\n\r\n" + digits(XDM) + b"\r\nMerci."),
    "base64 of a CDA in a text": part("Content-Type: text/plain", b"Bonjour.\r\n" + digits(CDA)),
    "base64 of a gzip in a text": part("Content-Type: text/plain", b"Bonjour.\r\n" + digits(gzip.compress(CDA))),
    "base64 alone in a text": part("Content-Type: text/plain", digits(XDM)),
    "base64 twice": file("a.txt", digits(XDM)),
    "base64 in HTML": part("Content-Type: text/html", b"<p>Bonjour.</p>\r\n" + digits(XDM)),
    "a message that is base64": b"From: <a@b.test>\r\n\r\n" + digits(XDM),
    "CDA as the text": b"From: <a@b.test>\r\nContent-Type: text/plain\r\n\r\n" + CDA,
    "CDA in a text": b"From: <a@b.test>\r\n\r\nBonjour.\r\n\r\n" + CDA,
    "CDA far on in a text": b"From: <a@b.test>\r\n\r\n" + b"Bonjour.\r\n" * 20_000 + CDA,
    "CDA as a picture": file("photo.jpg", CDA, "image/jpeg"),
    "CDA in UTF-16": file("a", CDA.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16"), "a/b"),
    "zip without a name": part("Content-Type: image/png\r\n" + BASE64, digits(XDM)),
    "zip after other octets": file("a.bin", b"\x7fELF" + bytes(500) + XDM),
    "zip after a picture": file("a.jpg", b"\xff\xd8\xff" + bytes(range(256)) * 300 + XDM, "image/jpeg"),
    "zip after a PDF": file("a.pdf", b"%PDF-1.7\n" + bytes(900) + XDM, "application/pdf"),
    "zip after HTML": file("a.htm", b"<html><body></body></html>" + XDM, "text/html"),
    "zip after HTML, by its name": file("a.zip", b"<html><body></body></html>" + XDM, "text/html"),
    "names of other folders": file("a.zip", zipped({"../../METADATA.XML": metadata(OMAR)})),
    "Windows' folders": file("a.zip", zipped({"IHE_XDM\\SUBSET01\\METADATA.XML": metadata(OMAR)})),
    "several METADATA.XML": file(
        "IHE_XDM.zip", zipped({"A/METADATA.XML": metadata(INES), "B/METADATA.XML": metadata(OMAR)})
    ),
    "metadata under another name": file("a.zip", zipped({"x.dat": metadata(OMAR)})),
}


@pytest.mark.parametrize("message", HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_documents_are_found(message: bytes) -> None:
    assert OMAR in frozenset[str]().union(*(one.matricules for one in found(message)))


@pytest.mark.parametrize(
    ("value", "oid"),
    [
        (f" {OMAR[:1]} {OMAR[1:3]} {OMAR[3:5]} {OMAR[5:7]} {OMAR[7:10]} {OMAR[10:13]} {OMAR[13:]} ", NIR),
        ("\N{NO-BREAK SPACE}".join((OMAR[:7], OMAR[7:])), NIR),
        ("".join(chr(ord(digit) + 0xFEE0) for digit in OMAR), NIR),
        (".".join((OMAR[:13], OMAR[13:])), NIR),
        (OMAR, f"urn:oid:{NIR}"),
        (OMAR, f"URN:OID:{NIR}"),
        (OMAR, f"oid:{NIR}"),
        (OMAR, f" {NIR} "),
        (OMAR, "urn:oid:1.2.250.1.213.1.4.10"),
        (OMAR, "1.2.250.1.213.1.4.11"),
    ],
)
def test_ways_to_write_an_ins(value: str, oid: str) -> None:
    assert [one.matricules for one in found(file("a.xml", cda((value, oid))))] == [{OMAR}]
    assert found(file("a.zip", zipped({"METADATA.XML": metadata(value, oid)})))[0].matricules == {OMAR}


def test_an_ins_that_is_not_given_names_nobody() -> None:
    assert found(file("a.xml", cda(("", NIR)))) == [Document("a.xml")]


def test_two_names_of_an_authority() -> None:
    octets = metadata(OMAR).replace(b"^^^&amp;" + NIR.encode(), b"^^^INS-NIR&amp;" + NIR.encode())
    assert found(file("a.zip", zipped({"METADATA.XML": octets})))[0].matricules == {OMAR}


# --- what cannot be read


def patched(octets: bytes, old: bytes, new: bytes, times: int) -> bytes:
    assert octets.count(old) == times
    return octets.replace(old, new)


def zip_of(method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as made:
        made.writestr("METADATA.XML", metadata(OMAR))
    return packed.getvalue()


def local(name: bytes, octets: bytes, flags: int = 0, method: int = 0) -> bytes:
    return (
        struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", 20, flags, method, 0, 33, zlib.crc32(octets), len(octets), len(octets),
            len(name), 0,
        )
        + name
        + octets
    )  # fmt: skip


def entry(name: bytes, octets: bytes, offset: int, flags: int = 0, method: int = 0) -> bytes:
    return (
        struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, flags, method, 0, 33, zlib.crc32(octets), len(octets), len(octets),
            len(name), 0, 0, 0, 0, 0, offset,
        )
        + name
    )  # fmt: skip


def ending(directory: bytes, number: int, offset: int, comment: bytes = b"") -> bytes:
    return directory + (
        struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory), offset, len(comment)) + comment
    )


HONEST = local(b"a.txt", b"rien")
SECRET = local(b"METADATA.XML", metadata(OMAR))
OUT_OF_SIGHT = HONEST + SECRET + ending(entry(b"a.txt", b"rien", 0), 1, len(HONEST + SECRET))
BEFORE = SECRET + HONEST + ending(entry(b"a.txt", b"rien", len(SECRET)), 1, len(SECRET + HONEST))
OTHER_NAME = SECRET + ending(entry(b"photo123.jpg", metadata(OMAR), 0), 1, len(SECRET))
TWO_ENDS = SECRET + ending(
    entry(b"METADATA.XML", metadata(OMAR), 0),
    1,
    len(SECRET),
    comment=HONEST + ending(entry(b"a.txt", b"rien", 0), 1, len(HONEST)),
)
OVERLAPPING = SECRET + ending(entry(b"METADATA.XML", metadata(OMAR), 0) * 2, 2, len(SECRET))

UNREADABLE = {
    "more than all parts": (
        b'From: <a@b.test>\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        + b"--b\r\n\r\nx\r\n" * 2_100
        + b"--b\r\n\r\n"
        + CDA
        + b"\r\n--b--\r\n",
        Fault.CUT,
    ),
    "a header longer than is read": (part("X: " + "x" * 70_000 + "\r\n" + BASE64, digits(XDM)), Fault.STRUCTURE),
    "parts within parts": (
        b"From: <a@b.test>\r\n"
        + b"".join(
            b"Content-Type: multipart/mixed; boundary=b%02d\r\n\r\n--b%02d\r\n" % (level, level) for level in range(60)
        )
        + b"Content-Type: application/zip\r\n\r\n"
        + CDA,
        Fault.STRUCTURE,
    ),
    "two types": (
        b'From: <a@b.test>\r\nContent-Type: text/plain\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + digits(XDM) + b"\r\n--b--\r\n",
        Fault.STRUCTURE,
    ),
    "two boundaries": (
        b"From: <a@b.test>\r\nContent-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\nx\r\n"
        b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + digits(XDM) + b"\r\n--b--\r\n",
        Fault.STRUCTURE,
    ),
    "a piece of a message": (part("Content-Type: message/partial; id=a; number=1; total=2", WITHIN), Fault.STRUCTURE),
    "CDA with a DOCTYPE": (file("a", b"<!DOCTYPE x SYSTEM 'x'>" + CDA[CDA.index(b"<Clin") :]), Fault.DOCTYPE),
    "CDA with entities": (
        file("a", b"<!DOCTYPE x [<!ENTITY e '1'>]>" + CDA[CDA.index(b"<Clin") :].replace(OMAR.encode(), b"&e;")),
        Fault.DOCTYPE,
    ),
    "CDA after a long comment": (
        file("a", CDA.replace(b"?>", b"?><!--" + b"x" * 200_000 + b"-->", 1)),
        Fault.XML_BOUNDS,
    ),
    "CDA in UTF-32": (file("a.xml", CDA.decode().partition("?>")[2].encode("utf-32")), Fault.XML),
    "CDA in an encoding that is not read": (file("a.xml", CDA.replace(b"UTF-8", b"UTF-7", 1)), Fault.XML),
    "CDA in an encoding that nobody knows": (file("a.xml", CDA.replace(b"UTF-8", b"X-Y", 1)), Fault.XML),
    "METADATA.XML that is no XML": (file("a.zip", zipped({"METADATA.XML": b"PATIENT"})), Fault.XML),
    "another name in the directory": (file("a.zip", OTHER_NAME), Fault.TWO_READINGS),
    "member that the directory leaves out": (file("a.zip", OUT_OF_SIGHT), Fault.TWO_READINGS),
    "member before the first of the directory": (file("a.zip", BEFORE), Fault.TWO_READINGS),
    "directory in the comment of another": (file("a.zip", TWO_ENDS), Fault.TWO_READINGS),
    "one member twice": (file("a.zip", OVERLAPPING), Fault.TWO_READINGS),
    "encrypted zip": (
        file(
            "a.zip",
            (body := local(b"a.dat", bytes(90), flags=1)) + ending(entry(b"a.dat", bytes(90), 0, 1), 1, len(body)),
        ),
        Fault.ENCRYPTED,
    ),
    "encrypted in the local header alone": (
        file(
            "a.zip",
            (body := local(b"a.dat", bytes(90), flags=1)) + ending(entry(b"a.dat", bytes(90), 0), 1, len(body)),
        ),
        Fault.ENCRYPTED,
    ),
    "deflate64": (
        file(
            "a.zip",
            (body := local(b"a.dat", bytes(90), method=9))
            + ending(entry(b"a.dat", bytes(90), 0, method=9), 1, len(body)),
        ),
        Fault.METHOD,
    ),
    "bzip2 in a zip": (file("a.zip", zip_of(zipfile.ZIP_BZIP2)), Fault.METHOD),
    "lzma in a zip": (file("a.zip", zip_of(zipfile.ZIP_LZMA)), Fault.METHOD),
    "7z": (file("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(90)), Fault.KIND),
    "rar": (file("photo.jpg", b"Rar!\x1a\x07\x01\x00" + bytes(90)), Fault.KIND),
    "xz": (file("a.xz", lzma.compress(CDA)), Fault.KIND),
    "bzip2": (file("a.bz2", bz2.compress(CDA)), Fault.KIND),
    "tar": (file("a.tar", b"a".ljust(257, b"\0") + b"ustar\x00" + bytes(90)), Fault.KIND),
    "tar in gzip": (file("a.tgz", gzip.compress(b"a".ljust(257, b"\0") + b"ustar\x00" + bytes(90))), Fault.KIND),
    "broken zip": (file("photos.zip", zipped({"a.jpg": bytes(1000)})[:-10]), Fault.NO_DIRECTORY),
    "broken gzip": (file("a.gz", gzip.compress(CDA)[:90]), Fault.CUT_SHORT),
    "gzip bomb": (file("a.gz", gzip.compress(b"<a>" + bytes(20_000_000))), None),
    "gzip bomb of a CDA": (
        file("a.gz", gzip.compress(b"<ClinicalDocument>" + b" " * 20_000_000)),
        Fault.XML_BOUNDS,
    ),
    "zip in a zip that is a bomb": (
        file("a.zip", zipped({"a.zip": zipped({"x": bytes(90_000_000)}, deflate=False)})),
        Fault.RATIO,
    ),
    "twelve zips": (file("a.zip", nested(XDM, 12)), Fault.NESTED),
    "too many pasted": (part("Content-Type: text/plain", b"Bonjour.\r\n" + uu(b"a" * 999) * 600), Fault.TOO_MUCH),
    "multiparts that are to be decoded, within each other": (
        b"From: <a@b.test>\r\nContent-Transfer-Encoding: quoted-printable\r\n"
        + b"\r\nContent-Transfer-Encoding: quoted-printable\r\n".join(
            b'Content-Type: multipart/mixed; boundary="b%02d"\r\n\r\n--b%02d' % (level, level) for level in range(40)
        )
        + b"\r\n\r\nBonjour.\r\n",
        Fault.CUT,
    ),
}


@pytest.mark.parametrize(("message", "fault"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_vouched_for(message: bytes, fault: Fault | None) -> None:
    faults = {one.fault for one in found(message)}
    assert fault in faults if fault is not None else not faults
    assert fault is None or fault.shown.isascii()


# --- honest archives that programs write in their own way


class Unseekable(io.BytesIO):
    """So that sizes stand behind the members, in data descriptors."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise OSError


def test_data_descriptors() -> None:
    packed = Unseekable()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("IHE_XDM/SUBSET01/METADATA.XML", metadata(OMAR))
        made.writestr("IHE_XDM/SUBSET01/D.XML", CDA)
    assert b"PK\x07\x08" in packed.getvalue()
    assert told(file("a.zip", packed.getvalue())) == [OMAR, OMAR]


def test_zip64_that_needs_it_not() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        with made.open("METADATA.XML", "w", force_zip64=True) as member:
            member.write(metadata(OMAR))
    assert told(file("a.zip", packed.getvalue())) == [OMAR]


def zip64(number64: int = 1) -> bytes:
    """All in 64 bits: what programs write that do not know how much is to come."""
    octets = metadata(OMAR)
    extra = struct.pack("<2H3Q", 1, 24, len(octets), len(octets), 0)
    name = b"METADATA.XML"
    directory = entry(name, octets, 0xFFFFFFFF)
    directory = directory[:20] + b"\xff" * 8 + directory[28:30] + struct.pack("<H", len(extra)) + directory[32:] + extra
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, number64, number64, len(directory), len(SECRET))
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(SECRET) + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return SECRET + directory + end64 + locator + end


def test_zip64() -> None:
    with zipfile.ZipFile(io.BytesIO(zip64())) as made:
        assert made.read("METADATA.XML") == metadata(OMAR)
    assert told(file("a.zip", zip64())) == [OMAR]
    assert [one.fault for one in found(file("a.zip", zip64(2)))] == [Fault.TWO_READINGS]


# --- what passes


ORDINARY = {
    "text": b"From: <a@b.test>\r\n\r\nBonjour,\r\n\r\nObjet: visite\r\nbegin 100 fois\r\nMerci.\r\n",
    "many paragraphs that look like fields": b"From: <a@b.test>\r\n\r\n" + b"Nom: X\r\n\r\nNote: y\r\n\r\n" * 30,
    "a code of the ICD": b"From: <a@b.test>\r\n\r\nH50 strabisme convergent non paralytique\r\n",
    "HTML": part("Content-Type: text/html", b"<!DOCTYPE html><html><br><p>Bonjour & merci<p></html>"),
    "Word's HTML": part("Content-Type: text/html", b'<html><![if !mso]><?xml:namespace prefix = "o" /><p>a</html>'),
    "less than": b"From: <a@b.test>\r\n\r\n<jean@exemple.test> a dit <3\r\n",
    "PDF": file("a.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 400, "application/pdf"),
    "picture": file("a.jpg", b"\xff\xd8\xff" + bytes(range(256)) * 400, "image/jpeg"),
    "picture with entities": file(
        "a.svg", b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY ns "http://x">]><svg xmlns="&ns;"/>', "image/svg+xml"
    ),
    "long docx": file(
        "a.docx", zipped({"word/document.xml": b"<w:document xmlns:w='x'>" + b"<w:p/>" * 90_000 + b"</w:document>"})
    ),
    "docx": file("a.docx", zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w/>", "m.bin": b"x"})),
    "photos": file("a.zip", zipped({"a/": b"", "a/1.jpg": b"\xff\xd8" * 900, "a/vide.txt": b"", "a/b.xml": b"<a/>"})),
    "zip of a long text": file("a.zip", zipped({"a.txt": b"a" * 9_000_000})),
    "letters forwarded": part("Content-Type: message/rfc822", b"From: <x@y.test>\r\n\r\nBonjour.\r\n"),
    "a multipart that says base64": (
        b"From: <a@b.test>\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"--b\r\n\r\nBonjour.\r\n--b--\r\n"
    ),
    "an empty multipart": b"From: <a@b.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n",
    "nothing": b"From: <a@b.test>\r\n\r\n",
    "an attachment of nothing": file("vide.xml", b""),
    "vCard": file("a.vcf", b"BEGIN:VCARD\r\nVERSION:3.0\r\nN:EXEMPLE\r\nEND:VCARD\r\n", "text/vcard"),
    "calendar": part("Content-Type: text/calendar", b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"),
    "signature": file("smime.p7s", b"\x30\x82" + bytes(range(256)) * 8, "application/pkcs7-signature"),
}


@pytest.mark.parametrize("message", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_files_are_nobodys(message: bytes) -> None:
    assert found(message) == []
