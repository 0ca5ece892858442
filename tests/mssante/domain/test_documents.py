"""Whose documents may go to whom."""

import pytest

from mssante.domain.documents import Document, Fault, documents_of_recipients
from mssante.domain.verdict import ACCEPT, Refuse, Rule

INES, EARLIER, OMAR = "255081416802538", "255081416802635", "153124500723160"
OTHER, UNREADABLE = Rule.DOCUMENT_OTHER_PATIENT, Rule.DOCUMENT_UNREADABLE


def naming(*matricules: str) -> Document:
    return Document("d.xml", frozenset(matricules))


BROKEN = Document("b.zip", fault=Fault.CUT_SHORT)


@pytest.mark.parametrize(
    ("documents", "patients", "rule"),
    [
        ([], [{INES}], None),
        ([naming(INES)], [{INES}], None),
        ([naming()], [{INES}], None),
        ([naming(INES[:13])], [{INES}], None),
        ([naming(OMAR[:13])], [{INES}], OTHER),
        ([naming(INES[:12])], [{INES}], OTHER),
        ([naming(INES, EARLIER)], [{INES, EARLIER}], None),
        ([naming(INES, OMAR)], [{INES}], OTHER),
        ([naming(INES), naming(OMAR)], [{INES}], OTHER),
        ([naming(INES)], [{INES}, {OMAR}], OTHER),
        ([naming(OMAR)], [], None),
        ([BROKEN], [{INES}], UNREADABLE),
        ([BROKEN, naming(OMAR)], [{INES}], OTHER),
    ],
)
def test_who_may_receive_what(documents: list[Document], patients: list[set[str]], rule: Rule | None) -> None:
    verdict = documents_of_recipients(documents, [frozenset(known) for known in patients])
    assert (verdict.rule if isinstance(verdict, Refuse) else None) is rule
    if not isinstance(verdict, Refuse):
        assert verdict is ACCEPT
    else:
        assert not any(matricule in verdict.reason for matricule in (INES, OMAR))
