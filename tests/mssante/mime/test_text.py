"""The text that people search: as they type it, out of whatever charset and encoding it came in."""

import quopri
from base64 import encodebytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.mime.card import Card
from mssante.mime.pdf import pdf_text
from mssante.mime.scanner import Scanner
from mssante.mime.text import MAX_OCTETS, Wanted, fold, html_text, message_text, part_text, plain


def text_of(message: bytes, form: object = fold) -> str:
    scanner = Scanner()
    scanner.feed(message)
    card: Card = scanner.finish()
    return message_text(lambda start, end: message[start:end], card, b"", plain if form is plain else fold)


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Été", "ete"),
        ("e\u0301te\u0301", "ete"),
        ("CŒUR et Æsculape", "coeur et aesculape"),
        ("Straße", "STRASSE"),
        ("İstanbul", "istanbul"),
        ("Søren Łódź", "soren lodz"),
        ("d’urgence", "d'urgence"),
        ("« fin »", '" fin "'),
        ("compte‑rendu – suite", "compte-rendu - suite"),
        ("compte\r\n  rendu", "compte rendu"),
        ("12\u202f500\u00a0€", "12 500 €"),
        ("ﬁn de soin…", "fin de soin..."),
        ("cé\u00adsa\u200brienne", "cesarienne"),
        ("ΣΊΣΥΦΟΣ", "σισυφος"),
    ],
)
def test_what_is_typed_finds_what_is_written(written: str, typed: str) -> None:
    assert fold(typed) in fold(written)
    assert fold(written) == fold(fold(written))


@given(st.text(), st.text(), st.text())
def test_a_substring_stays_one_and_what_is_found_to_the_letter_is_found_folded(a: str, b: str, c: str) -> None:
    assert fold(b) in fold(a + "|" + b + "|" + c)
    if plain(b) in plain(a + b + c):
        assert fold(plain(b)) in fold(plain(a + b + c))


@given(st.text())
def test_a_folded_text_has_no_line_and_no_nul(text: str) -> None:
    assert not set("\n\r\t\0") & set(fold(text))


@pytest.mark.parametrize(
    ("octets", "encoding", "charset", "text"),
    [
        (b"Qm9uam91\r\ncg==", b"base64", b"utf-8", "Bonjour"),
        (b"Qm9uam91cg", b"base64", b"utf-8", "Bonjour"),
        (b"!!!", b"base64", b"utf-8", ""),
        (b"=C9t=\r\n=E9", b"quoted-printable", b"latin-1", "Été"),
        (b"l\x92\x9cuf", b"8bit", b"iso-8859-1", "l’œuf"),
        (b"d\xe9j\xe0", b"8bit", b"", "déjà"),
        (b"d\xc3\xa9j\xc3\xa0", b"8bit", b"us-ascii", "déjà"),
        (b"\xa4 \xbd", b"8bit", b"ISO-8859-15", "€ œ"),
        ("жалоба".encode("koi8-r"), b"8bit", b"koi8-r", "жалоба"),
        ("診断".encode("iso2022_jp"), b"7bit", b"iso-2022-jp", "診断"),
        ("été".encode("utf-16"), b"8bit", b"utf-16", "été"),
        (b"\xc3\x89", b"8bit", b"no-such-charset", "É"),
        (b"\xff", b"", b"utf-8", "\N{REPLACEMENT CHARACTER}"),
        (b"x", b"7bit", b"\xff\xfe", "x"),
        (b"\\u0041", b"7bit", b"unicode_escape", "\\u0041"),
    ],
)
def test_charsets_and_encodings_damaged_ones_too(octets: bytes, encoding: bytes, charset: bytes, text: str) -> None:
    assert part_text(octets, encoding, charset) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>le pati<b>en</b>t</p><p>va &eacute;t&amp;amp;</p>", "le patient va ét&amp;"),
        ("<style>p{}</style><script>alert(1)</script>oui", "oui"),
        ("<table><tr><td>a</td><td>b</td></tr></table>un<br>deux", "a b un deux"),
        ("a &lt;b&gt; c", "a <b> c"),
        ("sans fin <b", "sans fin"),
        ("<!-- non -->oui", "oui"),
        ("", ""),
    ],
)
def test_html_as_a_reader_sees_it(source: str, text: str) -> None:
    assert " ".join(html_text(source).split()) == text


@pytest.mark.parametrize("tag", ["<div>", "<b>", "<table><tr><td>", "<p>", "<", "<!--", "<a x=", "&", "</div>", "<li>"])
def test_hostile_html_is_read_in_bounded_time(tag: str) -> None:
    """The time limit of tests is the bound: the same without the limit of depth takes minutes."""
    assert isinstance(html_text("mot " + tag * 400_000), str)


MIXED = (
    b"From: =?iso-8859-1?q?H=E9l=E8ne?= <helene@clinique.test>\r\nSubject: =?utf-8?b?w6l0w6k=?=\r\n"
    b"X-MSS-MES: oui\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + encodebytes("<p>cœur régulier</p>".encode())
    + b"--b\r\nContent-Type: text/plain; charset=windows-1252\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    + quopri.encodestring("œdème".encode("cp1252"))
    + b"\r\n--b\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Disposition: attachment; filename*0*=utf-8''ordonnance%20d; filename*1*=%C3%A9tail.pdf\r\n\r\nSECRET\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: dedans\r\n\r\ncorps du dedans\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted("coeur regulier"), True),
        (Wanted("oedeme"), True),
        (Wanted("corps du dedans"), True),
        (Wanted("helene"), False),
        (Wanted("helene", whole=True), True),
        (Wanted("ordonnance detail.pdf", whole=True), True),
        (Wanted("subject: dedans", whole=True), True),
        (Wanted("secret", whole=True), False),
        (Wanted("ete", "subject"), True),
        (Wanted("dedans", "subject"), False),
        (Wanted("", "x-mss-mes"), True),
        (Wanted("", "x-mss"), False),
        (Wanted("oui", "x-mss-mes"), True),
        (Wanted("subject", "subject"), False),
    ],
)
def test_where_a_text_is_found(wanted: Wanted, found: bool) -> None:
    assert wanted.found_in(text_of(MIXED)) is found


def test_to_the_letter() -> None:
    text = text_of(MIXED, plain)
    assert Wanted("cœur régulier").found_in(text)
    assert not Wanted("coeur").found_in(text)


def test_a_huge_message_is_looked_at_up_to_a_bound() -> None:
    message = b"Subject: x\r\n\r\n" + b"mot " * (MAX_OCTETS // 2)
    asked: list[int] = []

    def octets(start: int, end: int) -> bytes:
        asked.append(end - start)
        return message[start:end]

    scanner = Scanner()
    scanner.feed(message)
    text = message_text(octets, scanner.finish(), b"", fold)
    assert sum(asked) < MAX_OCTETS + 1000
    assert len(text) < MAX_OCTETS + 1000


@given(st.binary(max_size=300))
def test_nothing_in_a_message_raises(junk: bytes) -> None:
    text_of(b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n" + junk)
    text_of(b"Content-Type: text/html; charset=" + junk[:10].replace(b"\n", b"") + b"\r\n\r\n" + junk)


def pdf(text: str) -> bytes:
    """A PDF of one page that says this."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>/MediaBox[0 0 612 792]>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    body = b"%PDF-1.4\n" + b"".join(b"%d 0 obj%b\nendobj\n" % (n, one) for n, one in enumerate(objects, 1))
    return body + b"trailer<</Root 1 0 R/Size 6>>\nstartxref\n0\n%%EOF\n"


def test_a_pdf_file_is_read_where_the_operator_wants_it() -> None:
    file = pdf("Créatinine élevée")
    message = b"Subject: x\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encodebytes(
        file
    )
    scanner = Scanner()
    scanner.feed(message)
    card = scanner.finish()
    text = message_text(lambda start, end: message[start:end], card, b"", fold, pdf_text)
    assert Wanted("creatinine elevee").found_in(text)
    assert not Wanted("creatinine").found_in(text_of(message))


@pytest.mark.parametrize("file", [b"", b"%PDF-1.7\n" + bytes(5000), pdf("x")[:200], b"\xff" * 10_000])
def test_what_is_no_pdf_has_no_text(file: bytes) -> None:
    assert pdf_text(file) == ""
