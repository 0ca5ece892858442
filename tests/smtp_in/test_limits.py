"""What a session may try before it is let go, and what of it gets into the log."""

import pytest

from mssante.domain.verdict import Refuse, Rule
from smtp_in.dialogue import without_ins
from tests.smtp_in.conftest import Serve
from tests.smtp_in.reception import MemoryReception


async def test_who_looks_for_addresses_is_let_go(serve: Serve, reception: MemoryReception) -> None:
    for nobody in ("personne", "aucune"):
        reception.refusals[f"{nobody}@cabinet.mssante.test"] = Refuse(Rule.RECIPIENT_UNKNOWN)
    client = await (await serve(max_unknown_recipients=2)).mx()
    assert (await client.ask("MAIL FROM:<paul@clinique.mssante.test>")).startswith("250")
    assert (await client.ask("RCPT TO:<personne@cabinet.mssante.test>")).startswith("550 5.1.1")
    assert (await client.ask("RCPT TO:<aucune@cabinet.mssante.test>")).startswith("550 5.1.1")
    assert (await client.line()).startswith("421 4.7.0")


@pytest.mark.parametrize(
    "typed",
    ["199012b00400137", "1990122004001371", "x199012b00400137", "199012b0040013", "199012A00400110y"],
)
def test_an_ins_is_masked_however_it_was_mistyped(typed: str) -> None:
    assert without_ins(f"<{typed}@patient.mssante.fr>") == "<(ins)@patient.mssante.fr>"


def test_other_words_stay_as_they_are() -> None:
    text = "claire.martin2025@cabinet.mssante.example refused 550, 35000000 octets"
    assert without_ins(text) == text
