"""Reading, indexing and (for development) signing the white list of the trust space.

Invariants
- Nothing of a file is believed before its signature: what `ListeBlanche` holds comes from the verified subtree only,
  and the signer is one of the pinned certificates, exactly (an authority alone would let any of its leaves sign).
- Exactly one Signature, child of the root; one Reference, URI="", transforms enveloped-signature then exclusive C14N;
  RSA-SHA256 and SHA-256. A DTD, an entity, or more than `max_bytes` is refused before parsing goes on.
- `read_liste` raises nothing but ListeRefusee; its message is the reason, for the log and the operator.
- The key of the list is (domain, DN), not the domain (facts 1.4): several operators may serve one domain.
- An entry that is authentic but whose DN or domain cannot be read is reported in `faults` and never matches; it does
  not freeze the whole trust space.
- Times are int microseconds since the epoch, UTC.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from sys import intern
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from espace_confiance.signer import ListeRefusee as ListeRefusee
from espace_confiance.signer import SignerPin as SignerPin
from tls.certificates import microseconds
from tls.names import DN, DNError, Key, parse_dn

NAMESPACE = "https://listeblanche.mssante.fr/schema"
DSIG = "http://www.w3.org/2000/09/xmldsig#"
ENVELOPED = DSIG + "enveloped-signature"
EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
MAX_BYTES = 64 * 1024 * 1024

_FIELDS = ("Nom", "Description", "DNCertificatOperateur", "ResponsableContact", "SupportContact", "DateMAJ")
_FIELD_OF_TAG = {f"{{{NAMESPACE}}}{field}": field for field in _FIELDS}
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
_CONFIGURATION = SignatureConfiguration(
    location="./",
    expect_references=1,
    signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
    digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
)


@dataclass(frozen=True, slots=True)
class Entree:
    """One `Domaine` of the list. dn is None when dn_text could not be read without ambiguity."""

    nom: str
    description: str
    dn: DN | None
    dn_text: str
    responsable: str
    support: str
    maj_us: int


@dataclass(frozen=True, slots=True, eq=False)
class ListeBlanche:
    """A verified list, indexed; every question is one hash look-up. Domains are compared in lower case."""

    generated_us: int
    entries: tuple[Entree, ...]
    signer: x509.Certificate
    domains: frozenset[str]
    faults: tuple[str, ...]
    _pairs: frozenset[tuple[str, Key]]
    _keys: frozenset[Key]
    _by_domain: dict[str, tuple[Entree, ...]]

    def lists(self, domain: str) -> bool:
        """Is the domain of the trust space?"""
        return domain.lower() in self.domains

    def accepts(self, domain: str, dn: DN) -> bool:
        """Is this operator's certificate listed for the domain?"""
        return (domain.lower(), dn.key) in self._pairs

    def knows(self, dn: DN) -> bool:
        """Is this operator's certificate listed for any domain (the null sender)?"""
        return dn.key in self._keys

    def entries_for(self, domain: str) -> tuple[Entree, ...]:
        """The entries of a domain in the list's order, or none."""
        return self._by_domain.get(domain.lower(), ())

    @property
    def signer_der(self) -> bytes:
        """The certificate that signed the list, DER."""
        return self.signer.public_bytes(Encoding.DER)

    @property
    def dn_count(self) -> int:
        """Distinct DN texts, as published."""
        return len({entry.dn_text for entry in self.entries})


def read_liste(data: bytes, signer: SignerPin, *, max_bytes: int = MAX_BYTES) -> ListeBlanche:
    """Verify the signature over these exact bytes and index the list: about 0.3 s for 6,500 entries.

    The signing certificate must have been valid at DateDeGeneration; whether it still is today is not asked, a list
    stays authentic after its signer expired. Raises ListeRefusee.
    """
    if len(data) > max_bytes:
        raise ListeRefusee(f"{len(data)} octets, more than the {max_bytes} permitted")
    root = _parse(data)
    certificate = _pinned_signer(root, signer)
    verified = _verified(data, certificate)
    generated_us = _generated(verified)
    signer.check_dates(certificate, generated_us)
    return _index(verified, generated_us, certificate)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=False
    )


def _parse(data: bytes) -> etree._Element:
    if re.search(rb"<!\s*(?:DOCTYPE|ENTITY)", data[:_PROLOGUE]):
        raise ListeRefusee("a document type declaration is not permitted")
    try:
        root = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError) as fault:
        raise ListeRefusee(f"not well-formed XML, or cut short: {fault}") from fault
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype or next(root.iter(etree.Entity), None) is not None:
        raise ListeRefusee("a document type declaration is not permitted")
    if root.tag != f"{{{NAMESPACE}}}ListeBlancheMSSante":
        raise ListeRefusee(f"the root element is {root.tag}, not ListeBlancheMSSante of {NAMESPACE}")
    return root


_PROLOGUE = 64 * 1024


def _pinned_signer(root: etree._Element, signer: SignerPin) -> x509.Certificate:
    """The shape of the signature, and the pinned certificate that its KeyInfo names."""
    signatures = list(root.iter(f"{{{DSIG}}}Signature"))
    if not signatures:
        raise ListeRefusee("the list is not signed")
    if len(signatures) > 1 or signatures[0].getparent() is not root:
        raise ListeRefusee("one Signature expected, child of the root element")
    signature = signatures[0]
    references = list(signature.iter(f"{{{DSIG}}}Reference"))
    if len(references) != 1 or references[0].get("URI") != "":
        raise ListeRefusee('one Reference expected, with URI=""')
    transforms = [transform.get("Algorithm") for transform in signature.iter(f"{{{DSIG}}}Transform")]
    methods = [method.get("Algorithm") for method in signature.iter(f"{{{DSIG}}}CanonicalizationMethod")]
    if transforms != [ENVELOPED, EXCLUSIVE_C14N] or methods != [EXCLUSIVE_C14N]:
        raise ListeRefusee("transforms expected: enveloped signature, then exclusive canonicalisation, nothing else")
    if any(len(element) for element in signature.iter(f"{{{DSIG}}}Transform")):
        raise ListeRefusee("a transform with parameters is not permitted")
    certificates = list(signature.iter(f"{{{DSIG}}}X509Certificate"))
    if len(certificates) != 1:
        raise ListeRefusee("one X509Certificate expected in KeyInfo")
    try:
        der = b64decode("".join((certificates[0].text or "").split()), validate=True)
    except ValueError as fault:
        raise ListeRefusee("the signature's certificate cannot be read") from fault
    return signer.signer(der)


def _verified(data: bytes, certificate: x509.Certificate) -> etree._Element:
    """The subtree that the signature covers, parsed from the octets that were digested."""
    # The dates of the certificate are compared with the verified DateDeGeneration afterwards, not with today.
    configuration = replace(_CONFIGURATION, verification_time=certificate.not_valid_before_utc)
    try:
        result: Any = XMLVerifier().verify(data, x509_cert=certificate, parser=_parser(), expect_config=configuration)
    except (SignXMLException, etree.LxmlError, ValueError, TypeError, KeyError) as fault:
        raise ListeRefusee(f"the signature does not hold: {fault or type(fault).__name__}") from fault
    tree = result.signed_xml
    if tree is None or tree.tag != f"{{{NAMESPACE}}}ListeBlancheMSSante":
        raise ListeRefusee("the signature does not cover the list")
    return tree  # type: ignore[no-any-return]


def _generated(tree: etree._Element) -> int:
    dates = tree.findall(f"{{{NAMESPACE}}}DateDeGeneration")
    if len(dates) != 1:
        raise ListeRefusee("one DateDeGeneration expected")
    return _time(dates[0].text or "", "DateDeGeneration")


def _time(text: str, what: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return microseconds(moment)
    except (ValueError, OverflowError) as fault:
        raise ListeRefusee(f"{what} is not a UTC date-time: {text[:40]!r}") from fault


def _index(tree: etree._Element, generated_us: int, certificate: x509.Certificate) -> ListeBlanche:
    holders = tree.findall(f"{{{NAMESPACE}}}ListeDomaines")
    if len(holders) != 1:
        raise ListeRefusee("one ListeDomaines expected")
    entries: list[Entree] = []
    faults: list[str] = []
    pairs: set[tuple[str, Key]] = set()
    by_domain: dict[str, list[Entree]] = {}
    for element in holders[0].findall(f"{{{NAMESPACE}}}Domaine"):
        entry = _entry(element, faults)
        entries.append(entry)
        if DOMAIN.fullmatch(entry.nom) is None:
            faults.append(f"entry {len(entries)}: {entry.nom[:80]!r} is not a domain")
            continue
        by_domain.setdefault(entry.nom, []).append(entry)
        if entry.dn is not None:
            pairs.add((entry.nom, entry.dn.key))
    return ListeBlanche(
        generated_us=generated_us,
        entries=tuple(entries),
        signer=certificate,
        domains=frozenset(by_domain),
        faults=tuple(faults),
        _pairs=frozenset(pairs),
        _keys=frozenset(key for _, key in pairs),
        _by_domain={domain: tuple(group) for domain, group in by_domain.items()},
    )


def _entry(element: etree._Element, faults: list[str]) -> Entree:
    values: dict[str, str] = {}
    for child in element:
        field = _FIELD_OF_TAG.get(child.tag)
        if field is None:
            continue  # a later schema may add elements; what we need we ask for below
        if field in values or len(child):
            raise ListeRefusee(f"a Domaine ({values.get('Nom', 'no Nom')[:80]}) with {field} twice, or markup in it")
        values[field] = (child.text or "").strip()
    if len(values) < len(_FIELDS):
        missing = ", ".join(field for field in _FIELDS if field not in values)
        raise ListeRefusee(f"a Domaine ({values.get('Nom', 'no Nom')[:80]}) without {missing}")
    nom, dn_text = values["Nom"], values["DNCertificatOperateur"]
    try:
        dn: DN | None = parse_dn(dn_text)
    except DNError as fault:
        dn = None
        faults.append(f"{nom[:80]}: {fault}")
    if dn is not None and not dn.complete:
        dn = None
        faults.append(f"{nom[:80]}: one CN, one OU and one O expected in {dn_text[:200]!r}")
    return Entree(
        nom=nom.lower(),
        description=values["Description"],
        dn=dn,
        # Operators repeat their DN and contacts in each of their entries; one copy of the text is enough.
        dn_text=intern(dn_text),
        responsable=intern(values["ResponsableContact"]),
        support=intern(values["SupportContact"]),
        maj_us=_time(values["DateMAJ"], f"DateMAJ of {nom[:80]}"),
    )


def sign_liste(
    entries: Iterable[Entree], key: RSAPrivateKey, certificate: x509.Certificate, generated_us: int
) -> bytes:
    """A list signed as the ANS signs its own (facts 1.4), for a development trust space. Entries come out sorted."""
    root = etree.Element(f"{{{NAMESPACE}}}ListeBlancheMSSante", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # the stub forgets None
    etree.SubElement(root, f"{{{NAMESPACE}}}DateDeGeneration").text = _seconds(generated_us)
    holder = etree.SubElement(root, f"{{{NAMESPACE}}}ListeDomaines")
    for entry in sorted(entries, key=lambda entry: (entry.nom, entry.dn_text)):
        domain = etree.SubElement(holder, f"{{{NAMESPACE}}}Domaine")
        texts = (entry.nom, entry.description, entry.dn_text, entry.responsable, entry.support, _seconds(entry.maj_us))
        for field, text in zip(_FIELDS, texts, strict=True):
            etree.SubElement(domain, f"{{{NAMESPACE}}}{field}").text = text
    etree.indent(root, "    ")
    signer = XMLSigner(
        signature_algorithm=SignatureMethod.RSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    signer.namespaces = {None: DSIG}  # type: ignore[dict-item]  # likewise
    signed = signer.sign(root, key=key, cert=[certificate])
    return etree.tostring(signed, xml_declaration=True, encoding="UTF-8")


def _seconds(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
