"""IHE_XDM archives and CDA documents of fictive patients, and messages that carry them."""

import base64
import io
import zipfile
from collections.abc import Mapping

NIR, IPP = "1.2.250.1.213.1.4.8", "1.2.250.1.999.1"
_SCHEMES = ("6b5aea1a-874d-4603-a4bc-96a0a7b38446", "58a6f841-87b3-4a3e-92fd-a8ffeff98427")


def cda(*identifiers: tuple[str, str], body: bytes = b"") -> bytes:
    """A CDA document of the patient with these (value, OID)."""
    ids = "".join(f'<id extension="{value}" root="{oid}"/>' for value, oid in identifiers)
    return (
        (
            '<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16"/>'
            f'<id root="1.2.250.1.1" extension="document"/><recordTarget><patientRole>{ids}<patient><name><family>'
            "EXEMPLE</family></name></patient></patientRole></recordTarget><author><assignedAuthor>"
            '<id root="1.2.250.1.71.4.2.1" '
            'extension="810000000001"/></assignedAuthor></author><component><nonXMLBody><text representation="B64">'
        ).encode()
        + base64.encodebytes(body)
        + b"</text></nonXMLBody></component></ClinicalDocument>"
    )


def metadata(value: str, oid: str = NIR) -> bytes:
    """A METADATA.XML of that patient."""
    identifiers = "".join(
        f'<rim:ExternalIdentifier id="i{number}" identificationScheme="urn:uuid:{scheme}" '
        f'value="{value}^^^&amp;{oid}&amp;ISO^NH"><rim:Name><rim:LocalizedString value="patientId"/></rim:Name>'
        "</rim:ExternalIdentifier>"
        for number, scheme in enumerate(_SCHEMES)
    )
    return (
        '<?xml version="1.0"?><lcm:SubmitObjectsRequest xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0" '
        'xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"><rim:RegistryObjectList><rim:ExtrinsicObject id="d">'
        '<rim:Slot name="sourcePatientId"><rim:ValueList><rim:Value>000123^^^&amp;1.2.3&amp;ISO^PI</rim:Value>'
        f"</rim:ValueList></rim:Slot>{identifiers}</rim:ExtrinsicObject></rim:RegistryObjectList>"
        "</lcm:SubmitObjectsRequest>"
    ).encode()


def zipped(members: Mapping[str, bytes], *, deflate: bool = True) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, octets in members.items():
            archive.writestr(name, octets)
    return packed.getvalue()


def xdm(matricule: str, *, cda_of: str | None = None, more: Mapping[str, bytes] | None = None) -> bytes:
    """An IHE_XDM.zip of that patient; ``cda_of``: its CDA document is another's."""
    return zipped(
        {
            "INDEX.HTM": b"<html><body>Documents</body></html>",
            "README.TXT": b"essai",
            "IHE_XDM/SUBSET01/METADATA.XML": metadata(matricule),
            "IHE_XDM/SUBSET01/DOC00001.XML": cda((matricule if cda_of is None else cda_of, NIR), ("000123", IPP)),
            "IHE_XDM/SUBSET01/STYLE.XSL": b'<xsl:stylesheet xmlns:xsl="x"/>',
            **(more or {}),
        }
    )


def attached(sender: str, recipients: str, *files: tuple[str, str, bytes], text: str = "Bonjour.") -> bytes:
    """A message with these (name, type, octets) in base64."""
    parts = "".join(
        f'--b\r\nContent-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
        + base64.encodebytes(octets).decode().replace("\n", "\r\n")
        for name, kind, octets in files
    )
    return (
        f"From: <{sender}>\r\nTo: {recipients}\r\nSubject: XDM/1.0/DDM+Compte rendu EXEMPLE Ines 14/08/1955\r\n"
        "X-MSS-CODECDA: 34112-3\r\nX-MSS-INS: O\r\nX-MSS-NIL: DEV000000\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n{parts}--b--\r\n"
    ).encode()
