"""What is read from a signed list, and every way to slip something past its signature."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from espace_confiance.liste_blanche import (
    DSIG,
    NAMESPACE,
    Entree,
    ListeRefusee,
    SignerPin,
    read_liste,
    sign_liste,
)
from tests.espace_confiance.conftest import CABINET, CLINIQUE, ENTRIES, NOW_US, SECOND_US, Signer, entree
from tls.names import parse_dn

EXCERPT = Path(__file__).parent / "data" / "excerpt-edge-cases-unsigned.xml"
EVIL = (
    "<Domaine><Nom>evil.mssante.example</Nom><Description>x</Description>"
    f"<DNCertificatOperateur>{CLINIQUE}</DNCertificatOperateur><ResponsableContact>x</ResponsableContact>"
    "<SupportContact>x</SupportContact><DateMAJ>2025-01-01T00:00:00Z</DateMAJ></Domaine>"
).encode()


def test_questions_are_answered_by_domain_and_dn(signer: Signer) -> None:
    liste = read_liste(signer.sign(), signer.pin)
    assert liste.entries == (ENTRIES[0], ENTRIES[2], ENTRIES[1])  # sorted by domain, then DN
    assert liste.domains == {"cabinet.mssante.example", "clinique.mssante.example"}
    assert liste.generated_us == NOW_US // SECOND_US * SECOND_US
    assert (liste.dn_count, liste.faults) == (2, ())
    cabinet, clinique = parse_dn(CABINET), parse_dn(CLINIQUE)
    assert liste.lists("clinique.mssante.example") and liste.lists("Clinique.MSSante.example")
    assert not liste.lists("mssante.example") and not liste.lists("x.clinique.mssante.example")
    assert liste.accepts("clinique.mssante.example", clinique)
    assert liste.accepts("clinique.mssante.example", cabinet)
    assert liste.accepts("cabinet.mssante.example", cabinet)
    assert not liste.accepts("cabinet.mssante.example", clinique)
    assert not liste.accepts("autre.mssante.example", cabinet)
    assert liste.knows(clinique)
    assert not liste.knows(parse_dn(CLINIQUE.replace("1750160012", "1750160013")))
    assert [entry.dn_text for entry in liste.entries_for("CLINIQUE.mssante.example")] == [CABINET, CLINIQUE]
    assert liste.entries_for("autre.mssante.example") == ()


def test_the_form_is_that_of_the_real_list(signer: Signer) -> None:
    data = signer.sign()
    assert data.startswith(
        b"<?xml version='1.0' encoding='UTF-8'?>\n<ListeBlancheMSSante xmlns=\"" + NAMESPACE.encode()
    )
    assert b'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo>' in data
    root = etree.fromstring(data)
    first = root.find(f"{{{NAMESPACE}}}ListeDomaines/{{{NAMESPACE}}}Domaine")
    assert first is not None
    assert [etree.QName(child).localname for child in first] == [
        "Nom",
        "Description",
        "DNCertificatOperateur",
        "ResponsableContact",
        "SupportContact",
        "DateMAJ",
    ]
    algorithms = [element.get("Algorithm") for element in root.iter() if element.get("Algorithm")]
    assert algorithms == [
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/2001/04/xmlenc#sha256",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", root.findtext(f"{{{NAMESPACE}}}DateDeGeneration") or "")


def wrap(data: bytes) -> bytes:
    """The signed list goes into the signature's Object, a list of our own around it."""
    signature = data[data.index(b"<Signature ") : data.index(b"</Signature>")]
    signed = data[data.index(b"<Liste") : data.index(b"<Signature ")] + b"</ListeBlancheMSSante>"
    head = b'<ListeBlancheMSSante xmlns="' + NAMESPACE.encode() + b'"><DateDeGeneration>2026-01-01T00:00:00Z'
    own = head + b"</DateDeGeneration><ListeDomaines>" + EVIL + b"</ListeDomaines>"
    return own + signature + b"<Object>" + signed + b"</Object></Signature></ListeBlancheMSSante>"


def twice(data: bytes) -> bytes:
    signature = data[data.index(b"<Signature ") : data.index(b"</Signature>") + 12]
    return data.replace(b"</ListeBlancheMSSante>", signature + b"</ListeBlancheMSSante>")


def deeper(data: bytes) -> bytes:
    signature = data[data.index(b"<Signature ") : data.index(b"</Signature>") + 12]
    return data.replace(signature, b"").replace(b"</ListeDomaines>", signature + b"</ListeDomaines>")


ATTACKS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("an entry more", lambda data: data.replace(b"</ListeDomaines>", EVIL + b"</ListeDomaines>"), "Digest mismatch"),
    ("another domain", lambda data: data.replace(b"<Nom>cabinet", b"<Nom>kabinet"), "Digest mismatch"),
    ("another date", lambda data: re.sub(rb"(<DateDeGeneration>)\d", rb"\g<1>3", data), "Digest mismatch"),
    ("a second ListeDomaines", lambda data: data.replace(
        b"<ListeDomaines>", b"<ListeDomaines>" + EVIL + b"</ListeDomaines><ListeDomaines>"), "Digest mismatch"),
    ("other white space", lambda data: data.replace(b"\n    <ListeDomaines>", b"\n  <ListeDomaines>"), "Digest"),
    ("a processing instruction", lambda data: data.replace(b"<Nom>cab", b"<Nom><?x y?>cab"), "Digest mismatch"),
    ("wrapped in the signature", wrap, "Digest mismatch"),
    ("no signature", lambda data: re.sub(rb"<Signature .*</Signature>", b"", data, flags=re.S), "not signed"),
    ("two signatures", twice, "one Signature expected"),
    ("a signature elsewhere", deeper, "one Signature expected"),
    ("a reference to an element", lambda data: data.replace(b'URI=""', b'URI="#a"'), "one Reference expected"),
    ("a reference without URI", lambda data: data.replace(b' URI=""', b""), "one Reference expected"),
    ("a reference to a file", lambda data: data.replace(b'URI=""', b'URI="file:///etc/passwd"'), "one Reference"),
    ("one transform less", lambda data: re.sub(rb'<Transform Algorithm="[^"]*enveloped-signature"/>', b"", data), "tr"),
    ("another transform", lambda data: data.replace(
        b'"http://www.w3.org/2000/09/xmldsig#enveloped-signature"', b'"http://www.w3.org/TR/1999/REC-xslt-19991116"'
    ), "transforms expected"),
    ("with comments", lambda data: data.replace(b"xml-exc-c14n#", b"xml-exc-c14n#WithComments"), "transforms"),
    ("SHA-1", lambda data: data.replace(b"xmldsig-more#rsa-sha256", b"xmldsig-more#rsa-sha1"), "does not hold"),
    ("HMAC", lambda data: data.replace(b"more#rsa-sha256", b"more#hmac-sha256"), "signature does not hold"),
    ("a shorter digest", lambda data: data.replace(
        b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1"), "does not hold"),
    ("no certificate", lambda data: re.sub(rb"<KeyInfo>.*</KeyInfo>", b"", data, flags=re.S), "one X509Certificate"),
    ("two certificates", lambda data: re.sub(
        rb"(<X509Certificate>.*</X509Certificate>)", rb"\1\1", data, flags=re.S), "one X509Certificate"),
    ("an unreadable certificate", lambda data: re.sub(
        rb"<X509Certificate>.*</X509Certificate>", "<X509Certificate>é</X509Certificate>".encode(), data, flags=re.S
    ), "certificate cannot be read"),
    ("a DTD", lambda data: data.replace(b"<ListeBl", b'<!DOCTYPE x [<!ENTITY a "b">]><ListeBl', 1), "document type"),
    ("a DTD in UTF-16", lambda data: data.decode().replace("UTF-8", "UTF-16").replace(
        "<ListeBl", '<!DOCTYPE ListeBlancheMSSante [<!ENTITY a "b">]><ListeBl', 1).encode("utf-16"), "type"),
    ("an entity file", lambda data: data.replace(
        b"<ListeBl", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><ListeBl', 1), "document type"),
    ("cut short", lambda data: data[: len(data) // 2], "cut short"),
    ("empty", lambda _: b"", "not well-formed"),
    ("not XML", lambda _: b"PK\x03\x04", "not well-formed"),
    ("another root", lambda _: b"<html/>", "the root element is html"),
    ("another namespace", lambda data: data.replace(NAMESPACE.encode(), b"urn:x"), "the root element is"),
]  # fmt: skip


@pytest.mark.parametrize(("attack", "reason"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
def test_a_list_that_is_not_what_was_signed_is_refused(
    signer: Signer, attack: Callable[[bytes], bytes], reason: str
) -> None:
    data = signer.sign()
    forged = attack(data)
    assert forged != data
    with pytest.raises(ListeRefusee, match=reason):
        read_liste(forged, signer.pin)


def test_another_signer_of_the_same_authority_is_refused(signer: Signer, impostor: Signer) -> None:
    data = impostor.sign()
    read_liste(data, impostor.pin)
    with pytest.raises(ListeRefusee, match="not the expected one"):
        read_liste(data, signer.pin)
    certificate = re.compile(rb"(?<=<X509Certificate>).*(?=</X509Certificate>)", re.S)
    named = certificate.search(signer.sign())
    assert named is not None
    with pytest.raises(ListeRefusee, match="signature does not hold"):
        read_liste(certificate.sub(named[0], data), signer.pin)


def test_two_signers_may_be_pinned_while_one_follows_the_other(signer: Signer, impostor: Signer) -> None:
    both = SignerPin((signer.issued.certificate, impostor.issued.certificate))
    assert read_liste(signer.sign(), both).signer == signer.issued.certificate
    assert read_liste(impostor.sign(), both).signer == impostor.issued.certificate


def test_what_the_signature_does_not_cover_is_not_read(signer: Signer) -> None:
    """Comments fall away in canonical form and the Signature element is taken out: neither may carry anything in."""
    data = signer.sign()
    for altered in (
        data.replace(b"<Nom>cabinet", b"<Nom><!-- evil -->cabi<!-- -->net"),
        data.replace(
            b"</Signature>", b"<Object><ListeDomaines xmlns=''>" + EVIL + b"</ListeDomaines></Object></Signature>"
        ),
        data.replace(b"<Nom>cabinet.mssante.example", b"<Nom><![CDATA[cabinet.mssante]]>.example"),
        data.replace(b"</ListeBlancheMSSante>", b"</ListeBlancheMSSante><!-- evil -->"),
    ):
        assert altered != data
        assert read_liste(altered, signer.pin).entries == read_liste(data, signer.pin).entries


def test_size_is_bounded(signer: Signer) -> None:
    data = signer.sign()
    read_liste(data, signer.pin, max_bytes=len(data))
    with pytest.raises(ListeRefusee, match="more than the"):
        read_liste(data, signer.pin, max_bytes=len(data) - 1)


YEAR_US = 365 * 86_400 * SECOND_US


@pytest.mark.parametrize("generated_us", [NOW_US - 2 * 86_400 * SECOND_US, NOW_US + 4 * YEAR_US])
def test_the_signer_must_have_been_valid_when_it_signed(signer: Signer, generated_us: int) -> None:
    with pytest.raises(ListeRefusee, match="was not valid at DateDeGeneration"):
        read_liste(signer.sign(generated_us=generated_us), signer.pin)


def test_a_faulty_entry_is_reported_and_matches_nothing(signer: Signer) -> None:
    liste = read_liste(
        signer.sign(
            *ENTRIES,
            Entree(
                "virgule.mssante.example", "x", None, "CN=mx.a.example,OU=1,O=DUPONT, MARTIN,C=FR", "x", "x", NOW_US
            ),
            entree("sans-o.mssante.example", "CN=mx.a.example,OU=1,C=FR"),
            entree("pas un domaine", CABINET),
        ),
        signer.pin,
    )
    assert len(liste.entries) == 6
    assert len(liste.faults) == 3
    assert liste.lists("virgule.mssante.example")
    assert not liste.lists("pas un domaine")
    assert not liste.accepts("virgule.mssante.example", parse_dn("CN=mx.a.example,OU=1,O=DUPONT,C=FR"))
    assert not liste.accepts("sans-o.mssante.example", parse_dn("CN=mx.a.example,OU=1,C=FR"))
    assert liste.accepts("cabinet.mssante.example", parse_dn(CABINET))


def signed(root: etree._Element, signer: Signer) -> bytes:
    """Any document, properly signed: what a careless publisher could send."""
    tool = XMLSigner(
        signature_algorithm=SignatureMethod.RSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    return etree.tostring(tool.sign(root, key=signer.key, cert=[signer.issued.certificate]))


HEAD = f'<ListeBlancheMSSante xmlns="{NAMESPACE}">'
DATE = "<DateDeGeneration>2025-02-28T15:42:07Z</DateDeGeneration>"
DOMAINE = EVIL.decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<ListeDomaines/>", "one DateDeGeneration"),
        (DATE + DATE + "<ListeDomaines/>", "one DateDeGeneration"),
        (DATE, "one ListeDomaines"),
        (DATE + "<ListeDomaines/><ListeDomaines/>", "one ListeDomaines"),
        ("<DateDeGeneration>hier</DateDeGeneration><ListeDomaines/>", "not a UTC date-time"),
        ("<DateDeGeneration>2025-02-28T15:42:07</DateDeGeneration><ListeDomaines/>", "not a UTC date-time"),
        (
            DATE + f"<ListeDomaines>{DOMAINE.replace('<Nom>evil.mssante.example</Nom>', '')}</ListeDomaines>",
            "without Nom",
        ),
        (DATE + f"<ListeDomaines>{DOMAINE.replace('<Nom>', '<Nom>a</Nom><Nom>')}</ListeDomaines>", "Nom twice"),
        (DATE + f"<ListeDomaines>{DOMAINE.replace('<Nom>evil', '<Nom><b/>evil')}</ListeDomaines>", "markup in it"),
        (
            DATE + "<ListeDomaines>" + DOMAINE.replace("<Nom>", "<Nom xmlns='urn:x'>") + "</ListeDomaines>",
            "without Nom",
        ),
        (DATE + f"<ListeDomaines>{DOMAINE.replace('2025-01-01T', '')}</ListeDomaines>", "DateMAJ of evil"),
    ],
)
def test_a_signed_list_of_another_shape_is_refused(signer: Signer, content: str, reason: str) -> None:
    now = DATE.replace("2025-02-28T15:42:07Z", _now_text())
    document = etree.fromstring(HEAD + content.replace(DATE, now) + "</ListeBlancheMSSante>")
    with pytest.raises(ListeRefusee, match=reason):
        read_liste(signed(document, signer), signer.pin)


def _now_text() -> str:
    return datetime.fromtimestamp(NOW_US // SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_an_unknown_element_does_not_freeze_the_trust_space(signer: Signer) -> None:
    domaine = DOMAINE.replace("</Domaine>", "<Nouveau>x</Nouveau></Domaine>")
    now = DATE.replace("2025-02-28T15:42:07Z", _now_text())
    document = etree.fromstring(f"{HEAD}{now}<ListeDomaines>{domaine}</ListeDomaines></ListeBlancheMSSante>")
    assert read_liste(signed(document, signer), signer.pin).lists("evil.mssante.example")


def test_every_entry_of_the_excerpt_survives_signing(signer: Signer) -> None:
    """42 entries of the real list, with all its quirks (contacts blanked)."""
    names = {"n": NAMESPACE}
    root = etree.parse(EXCERPT).getroot()
    rows = [
        (domaine.findtext("n:Nom", "", names), domaine.findtext("n:DNCertificatOperateur", "", names))
        for domaine in root.iterfind("n:ListeDomaines/n:Domaine", names)
    ]
    assert len(rows) == 42
    liste = read_liste(signer.sign(*(entree(nom, dn) for nom, dn in rows)), signer.pin)
    assert liste.faults == ()
    assert {(entry.nom, entry.dn_text) for entry in liste.entries} == {(nom, dn.strip()) for nom, dn in rows}
    cnam = parse_dn("CN=smtps2.ens.atos-infogerance.fr,OU=318003502400041,O=CNAM,ST=Paris (75),C=FR")
    assert liste.accepts("patient.mssante.fr", cnam)
    # MOTCO1 (facts 1.5): the name in the certificate is not the one in the list.
    bus = parse_dn("CN=bus.mssante.fr,OU=347976684200724,O=CAPGEMINI TECHNOLOGY SERVICES,ST=Hauts-de-Seine (92),C=FR")
    assert liste.accepts("cert-no-match-audit.espacedeconfiance.mssante.fr", bus)
    assert not liste.accepts("patient.mssante.fr", bus)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.data())
def test_any_damage_is_refused_or_changes_nothing(signer: Signer, data: st.DataObject) -> None:
    original = signer.sign(*ENTRIES[:1])
    start = data.draw(st.integers(0, len(original) - 1))
    length = data.draw(st.integers(0, 40))
    patch = data.draw(
        st.binary(max_size=40) | st.sampled_from([b"<!---->", b"&#13;", b"<![CDATA[", b"]]>", b"\r\n", b" "])
    )
    damaged = original[:start] + patch + original[start + length :]
    try:
        liste = read_liste(damaged, signer.pin)
    except ListeRefusee:
        return
    assert [(entry.nom, entry.dn_text) for entry in liste.entries] == [("cabinet.mssante.example", CABINET)]
    assert liste.generated_us == NOW_US // SECOND_US * SECOND_US


@given(st.binary(max_size=300))
def test_any_octets_are_refused(octets: bytes) -> None:
    with pytest.raises(ListeRefusee):
        read_liste(octets, SignerPin(()))


def test_signing_needs_no_order(signer: Signer) -> None:
    certificate = signer.issued.certificate
    assert sign_liste(ENTRIES, signer.key, certificate, NOW_US) == sign_liste(
        ENTRIES[::-1], signer.key, certificate, NOW_US
    )
    assert DSIG.encode() in sign_liste((), signer.key, certificate, NOW_US)
