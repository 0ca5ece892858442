"""The life of a citizen's mailbox, one use-case a function: opened, opposed, closed, reopened, its matricule, parents.

Always true here: each change is one transaction with its journal entry, in which a citizen is named by the hash of his
address alone; who has no mailbox any more is told apart by cause (opposition, his own wish, death), because a sender
must do something else in each case (facts 4.4). The functions take a transaction, as those of `bals`.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from mssante.domain.address import Address, parse_address
from mssante.domain.bal import BalState, may_become
from mssante.domain.patient import Authority, Standing
from mssante.services.bals import NotAllowed, closed_by_regulator, empty, known_bal, step, want
from mssante.store import Conn, NotFound, Tx, patients
from mssante.store.patients import NewPatient, Patient

MAJORITY: Final = 18
"""Years (article 388 of the Code civil)."""
_STATES = {
    # The holder may still take his mail away; who is opposed from the start has none.
    Standing.OPPOSED: BalState.CLOSING,
    Standing.CLOSED: BalState.CLOSED,
    Standing.DECEASED: BalState.CLOSED,
    Standing.OPEN: BalState.ACTIVE,
}


def register(tx: Tx, new: Sequence[NewPatient], actor: str) -> list[int]:
    """Opens citizens' bals, all or none; their ids. Raises AlreadyExists."""
    ids: list[int] = []
    for start in range(0, len(new), 1000):
        ids += patients.create_patients(tx, new[start : start + 1000])
    for one in new:
        tx.journal("bal.opened", actor=actor, object=str(one.address), type="PAT", standing=str(one.standing))
    return ids


def known_patient(conn: Conn, address: Address) -> Patient:
    """The citizen of this matricule, the present one or an earlier one. Raises NotFound, which names nobody."""
    try:
        found = patients.patient(conn, known_bal(conn, address).id)
    except NotFound:
        found = None
    if found is None:
        raise NotFound("no mailbox for this INS: see mssante patient list")
    return found


def stand(tx: Tx, address: Address, standing: Standing, motif: str, actor: str) -> None:
    """The citizen is opposed, wants his mailbox closed, has died; or, OPEN, none of these any more. Raises NotFound,
    NotAllowed."""
    want(motif)
    known = known_patient(tx.conn, address)
    present = parse_address(known.bal.address)
    if known.standing is standing:
        raise NotAllowed(f"the mailbox is {standing} already")
    if standing is Standing.OPEN and closed_by_regulator(known.bal):
        raise NotAllowed("the regulator closed this mailbox: see mssante regulateur rouvrir")
    if may_become(known.bal.state, _STATES[standing]):
        step(tx, present, _STATES[standing], f"patient.{standing}", motif, actor)
    else:  # a draft that is opposed, a mailbox closed before: only the cause is another
        tx.journal(f"patient.{standing}", actor=actor, object=str(present), motif=motif)
    patients.set_standing(tx, known.bal.id, standing)


def purge(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Destroys what a closed mailbox holds, and all that is known of the citizen but his matricules and why he has no
    mailbox. Raises NotFound, NotAllowed."""
    want(motif)
    known = known_patient(tx.conn, address)
    empty(tx, known.bal, motif, actor)
    patients.forget(tx, known.bal.id)


def change_matricule(tx: Tx, address: Address, new: Address, authority: Authority, motif: str, actor: str) -> None:
    """Mail to the old address still arrives, the exchanges go on. Raises NotFound, NotAllowed, AlreadyExists."""
    want(motif)
    known = known_patient(tx.conn, address)
    if (known.bal.address, known.identity.authority) == (str(new), authority):
        raise NotAllowed("this is the citizen's matricule already")
    patients.change_matricule(tx, known, new, authority)
    tx.journal("patient.matricule", actor=actor, object=known.bal.address, now=str(new), motif=motif)


def give_parent(tx: Tx, child: Address, parent: Address, actor: str, remove: bool = False) -> None:
    """The parent may open the child's mailbox until the child is of age; with `remove`, no longer. Raises NotFound,
    NotAllowed."""
    minor, adult = known_patient(tx.conn, child), known_patient(tx.conn, parent)
    if BalState.CLOSED in (minor.bal.state, adult.bal.state) and not remove:
        raise NotAllowed("one of the two mailboxes is closed")
    until_us = 0 if remove else of_age_us(minor.identity.naissance)
    if not remove:
        if until_us <= tx.now_us:
            raise NotAllowed("the child is of age: nobody else opens his mailbox")
        if adult.bal.id == minor.bal.id or of_age_us(adult.identity.naissance) > tx.now_us:
            raise NotAllowed("the parent must be another citizen, and of age")
    if not patients.set_parent(tx, minor.bal.id, adult.bal.id, until_us):
        raise NotFound("this parent has no right to take back")
    action = "patient.parent_removed" if remove else "patient.parent"
    tx.journal(action, actor=actor, object=minor.bal.address, parent=adult.bal.address)


def let_grow_up(tx: Tx) -> int:
    """The rights of parents to mailboxes of children who are of age now go, and their sessions there end; how many were
    looked at: some of them, while there are any."""
    outgrown = patients.outgrown(tx.conn, tx.now_us)
    for child, parent in outgrown:
        if patients.set_parent(tx, child.id, parent.id, 0):  # else another process was first
            tx.journal("patient.of_age", actor="systeme:majorite", object=child.address, parent=parent.address)
    return len(outgrown)


def set_notify(tx: Tx, address: Address, notify: str | None, actor: str) -> None:
    """Where the citizen is told of new mail; None: nowhere. Raises NotFound."""
    known = known_patient(tx.conn, address)
    patients.set_notify(tx, known, notify)
    tx.journal("patient.notify", actor=actor, object=known.bal.address, wished=notify is not None)


def of_age_us(naissance: str) -> int:
    """When the citizen born on that day (YYYY-MM-DD) is of age: the beginning of the day in UTC, an hour or two after
    it began in France. Who is born on a 29th of February is of age on the 1st of March."""
    born = date.fromisoformat(naissance)
    try:
        day = born.replace(year=born.year + MAJORITY)
    except ValueError:
        day = born.replace(year=born.year + MAJORITY, day=28) + timedelta(days=1)
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000
