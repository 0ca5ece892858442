"""What opens a bal beside its password: an app password for each device, certificates for the software of an APP.

Always true here: each change is one transaction with its journal entry, which names the device or the certificate and
holds no secret; what is revoked ends the sessions that it opened (`mssante.services.accounts`).
"""

from typing import Final

from mssante.domain.address import Address
from mssante.domain.bal import BalType
from mssante.services.accounts import mark_of
from mssante.services.bals import NotAllowed, known_bal, living_bal
from mssante.store import Conn, NotFound, Tx, credentials
from mssante.store.credentials import Credential, Kind
from tls.certificates import organisation_dn

MOST_DEVICES: Final = 20
"""App passwords of one bal."""


def allow_device(tx: Tx, address: Address, name: str, password: str, password_hash: str, actor: str) -> None:
    """A device may sign in with a password of its own. Raises NotFound, NotAllowed, AlreadyExists."""
    bal = living_bal(tx.conn, address, "nobody signs in there any more")
    if sum(one.kind is Kind.DEVICE for one in credentials.credentials(tx.conn, bal.id)) >= MOST_DEVICES:
        raise NotAllowed(f"the mailbox has {MOST_DEVICES} devices: revoke those that are no longer in use")
    mark = tx.keys.mark(bal.id, password)
    credentials.add(tx, Credential(bal.id, Kind.DEVICE, name, mark, password_hash, tx.now_us))
    tx.journal("bal.device", actor=actor, object=bal.address, device=name)


def bind_certificate(tx: Tx, address: Address, der: bytes, actor: str) -> str:
    """Software may open the bal with any certificate of this one's name, so a renewed one needs no visit; the name.

    Raises NotFound, NotAllowed (not an APP; not a certificate of ORG AUTH_CLI), AlreadyExists.
    """
    bal = living_bal(tx.conn, address, "nobody signs in there any more")
    if bal.type is not BalType.APP:
        raise NotAllowed(f"{address} is of type {bal.type}: certificates open mailboxes of type APP")
    dn = organisation_dn(der)
    if dn is None:
        raise NotAllowed(
            "the certificate is not one for software (ORG AUTH_CLI, with CN, OU and O): ask for such a one"
        )
    credentials.add(tx, Credential(bal.id, Kind.CERTIFICATE, str(dn), mark_of(dn), None, tx.now_us))
    tx.journal("bal.certificate", actor=actor, object=bal.address, certificate=str(dn))
    return str(dn)


def revoke(tx: Tx, address: Address, kind: Kind, name: str, actor: str) -> None:
    """The device or certificate of this name opens the bal no longer. Raises NotFound (the bal, or it)."""
    bal = known_bal(tx.conn, address)
    if not credentials.revoke(tx, bal.id, kind, name):
        raise NotFound(f"{tx.trace_name(bal.address)} has no {kind} {name!r}: see mssante bal show")
    tx.journal("bal.revoked", actor=actor, object=bal.address, **{str(kind): name})


def openings(conn: Conn, address: Address) -> list[Credential]:
    """What opens the bal beside its password. Raises NotFound."""
    return credentials.credentials(conn, known_bal(conn, address).id)
