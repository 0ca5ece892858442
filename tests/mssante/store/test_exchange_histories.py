"""Random histories of messages between professionals and patients: the store, driven as arrival does, against a model
that knows nothing of tables."""

import random
from dataclasses import dataclass, field

import pytest

from mssante.domain.address import Address, parse_address
from mssante.domain.bal import BalType
from mssante.domain.exchange import Ending, Guard
from mssante.domain.ins import ins_key
from mssante.domain.transaction import Charter, Edge, HeaderFacts, Recipient, Speaker, Transaction
from mssante.domain.verdict import Refuse, Rule
from mssante.services.exchanges import follow, judge
from mssante.services.transaction import Accepted, Caller, MailTransaction
from mssante.store import Store
from mssante.store.exchanges import welcome
from tests.mssante.store.made import PATIENT_DOMAIN

PROFESSIONALS = [parse_address(f"{name}@cabinet.mssante.fr") for name in ("anne", "paul", "secretariat", "pharmacie")]
PATIENTS = [parse_address(f"{root}{ins_key(root):02d}@{PATIENT_DOMAIN}") for root in ("2790351215189", "1531245007231")]
SUBJECTS = {Ending.NOTHING: "Bonjour", Ending.EXCHANGE: "Re: [ fin ]", Ending.THREAD: "Bonjour"}


@dataclass
class Model:
    """Pairs are (professional, patient)."""

    open: dict[tuple[Address, Address], bool] = field(default_factory=dict)
    introduced: set[tuple[Address, Address, Address]] = field(default_factory=set)
    ended: list[tuple[Address, Address, set[str]]] = field(default_factory=list)
    welcoming: set[Address] = field(default_factory=set)

    def written(self, author: Address, patient: Address, ends: Ending, thread: set[str], named: set[Address]) -> None:
        pair = (author, patient)
        if ends is Ending.NOTHING:
            self.open[pair] = True
            self.introduced |= {(other, patient, author) for other in named - {author}}
        elif ends is Ending.EXCHANGE or not self.open.get(pair):
            self.open[pair] = False
        if not self.open[pair]:
            self.introduced = {one for one in self.introduced if one[1:] != (patient, author)}
        if ends is not Ending.EXCHANGE:
            self.ended = [one for one in self.ended if one[:2] != pair or not one[2] & thread]
        if ends is Ending.THREAD:
            self.ended.append((*pair, thread))

    def refuses(self, patient: Address, professional: Address, references: set[str]) -> Rule | None:
        known = self.open.get((professional, patient))
        invited = professional in self.welcoming or any(one[:2] == (professional, patient) for one in self.introduced)
        if known is False or (known is None and not invited):
            return Rule.EXCHANGE_ENDED
        if any(one[:2] == (professional, patient) and one[2] & references for one in self.ended):
            return Rule.EXCHANGE_THREAD_ENDED
        return None


def mail(author: Address, recipients: list[Address], charter: Charter, speaker: Speaker) -> MailTransaction:
    facts = Transaction(
        charter,
        speaker,
        author,
        tuple(Recipient(one, True, True, one.domain == PATIENT_DOMAIN) for one in recipients),
    )
    made = MailTransaction(Caller(speaker.edge), facts, 1000)
    kind = {True: BalType.PAT, False: BalType.PER}
    for number, one in enumerate(recipients):
        made.recipients[one] = Accepted(one, number, kind[one.domain == PATIENT_DOMAIN], "", "", str(one))
    return made


@pytest.mark.parametrize("seed", range(12))
def test_any_history(store: Store, seed: int) -> None:
    draw, model = random.Random(seed), Model()
    charter = Charter(frozenset({PATIENT_DOMAIN}), fin_header=Ending.THREAD)
    identifiers = [f"<{number}@x>" for number in range(8)]
    for number in range(60):
        references = draw.sample(identifiers, draw.randrange(3))
        act = draw.randrange(10)
        if act == 0:
            who = draw.choice(PROFESSIONALS)
            first = draw.random() < 0.5
            store.write_now(welcome, str(who), first)
            (model.welcoming.add if first else model.welcoming.discard)(who)
        elif act < 5:
            author, named = draw.choice(PROFESSIONALS), draw.sample(PROFESSIONALS, draw.randrange(3))
            patients, ends = draw.sample(PATIENTS, draw.randrange(1, 3)), draw.choice([*Ending, Ending.NOTHING])
            own = draw.choice(identifiers)
            headers = HeaderFacts(
                SUBJECTS[ends],
                "FIN" if ends is Ending.THREAD else "",
                message_id=own,
                references=tuple(references),
            )
            written = mail(author, [*patients, *named], charter, Speaker(Edge.MX))
            store.write_now(follow, written, headers, [*patients, *named], f"id{number}")
            for patient in patients:
                model.written(author, patient, ends, {own, *references}, set(named))
        else:
            patient, recipients = draw.choice(PATIENTS), draw.sample(PROFESSIONALS, draw.randrange(1, 4))
            headers = HeaderFacts("[FIN]", "FIN", references=tuple(references))
            speaker = Speaker(Edge.SUBMISSION, str(patient), bal_type=BalType.PAT)
            asked = mail(patient, recipients, charter, speaker)
            verdict = store.read_now(judge, asked, headers)
            expected = [model.refuses(patient, one, set(references)) for one in recipients]
            assert (verdict.rule if isinstance(verdict, Refuse) else None) == next(filter(None, expected), None)
            # The same from another operator, where the guard is soft: what it marks is what would be refused.
            soft = Charter(frozenset({PATIENT_DOMAIN}), fin_header=Ending.THREAD, exchange_guard=Guard.SOFT)
            marked = store.read_now(judge, mail(patient, recipients, soft, Speaker(Edge.MX)), headers)
            assert marked == frozenset(place for place, rule in enumerate(expected) if rule is not None)
            off = Charter(frozenset({PATIENT_DOMAIN}), exchange_guard=Guard.OFF)
            assert store.read_now(judge, mail(patient, recipients, off, Speaker(Edge.MX)), headers) == frozenset()
            # A patient's words change nothing, whatever they say.
            store.write_now(follow, asked, headers, recipients, "id")
