"""One mail transaction as a session holds it, between MAIL and the end of DATA.

Always true here: who speaks was authenticated by the edge; a recipient is in ``recipients`` only after its 250.
"""

from dataclasses import dataclass, field

from mssante.domain.address import Address
from mssante.domain.bal import BalType
from mssante.domain.transaction import Edge, Transaction
from mssante.services.accounts import SignedIn
from tls.names import DN


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks on an SMTP session: another operator by its certificate's DN, or the holder of a mailbox."""

    edge: Edge
    dn: DN | None = None
    holder: SignedIn | None = None

    @property
    def name(self) -> str:
        """For the journal and the log: never a patient's address in clear."""
        return self.holder.trace_name if self.holder else str(self.dn or "-")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A recipient that got its 250, with what RFC 3461 asks for it. ``bal_id`` is None for another operator's."""

    address: Address
    bal_id: int | None
    bal_type: BalType | None
    notify: str
    orcpt: str
    mailbox: str
    """The bal's own address: a citizen may have been written to by a former matricule. Another operator's as given."""


@dataclass(slots=True)
class MailTransaction:
    """RFC 5321 §3.3. Octets: ``max_size`` is lowered when a patient is among the recipients, ``announced`` is SIZE."""

    caller: Caller
    facts: Transaction
    max_size: int
    announced: int = 0
    envid: str = ""
    ret: str = ""
    body: str = ""
    smtputf8: bool = False
    recipients: dict[Address, Accepted] = field(default_factory=dict)

    @property
    def sender(self) -> Address | None:
        return self.facts.sender

    @property
    def reporting(self) -> bool:
        """Whether the message reports abuse, beside its going to ``recipients``, if any."""
        return any(one.reporting for one in self.facts.recipients)


@dataclass(frozen=True, slots=True)
class Trace:
    """What the Received field tells of the session (RFC 5321 §4.4). ``protocol``: ESMTPS, ESMTPSA, ... (RFC 3848)."""

    helo: str
    peer_ip: str
    protocol: str
    tls: str = ""
    """Protocol version and cipher, e.g. ``TLSv1.3 TLS_AES_256_GCM_SHA384``."""
