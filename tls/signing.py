"""Signatures over documents by this operator's certificate, for others to check with ordinary tools.

Invariant: the form is CMS (RFC 5652), detached, with the certificate and its chain inside: ``openssl cms -verify`` and
the roots are all that a reader needs.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from tls.certificates import TlsError, load_certificates


def sign_document(document: bytes, certificate: Path, key: Path) -> bytes:
    """The detached signature, DER. Raises TlsError naming the file that cannot be used."""
    own, *chain = load_certificates(certificate)
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, TypeError, ValueError) as fault:
        raise TlsError(f"{key}: no private key that can be read ({fault})") from fault
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TlsError(f"{key}: documents are signed with an RSA or an elliptic-curve key")
    builder = PKCS7SignatureBuilder().set_data(document).add_signer(own, private, SHA256())
    for above in chain:
        builder = builder.add_certificate(above)
    return builder.sign(Encoding.DER, [PKCS7Options.DetachedSignature, PKCS7Options.Binary])
