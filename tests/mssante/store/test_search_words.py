"""A block answers as its texts do: never less, and no more when it says that it is exact."""

from hypothesis import given
from hypothesis import strategies as st

from mssante.mime.text import Wanted, fold
from mssante.store.search_words import BLOCK, FIELDS, build, places, search

letters = st.text(alphabet="aé1 -_.@ß診", max_size=7).map(fold)
lines = st.lists(st.tuples(st.sampled_from([*FIELDS, "x-mss-mes", "x"]), letters.map(str.strip)), max_size=4)
texts = st.builds(
    lambda head, others, bodies: "\0".join(("\n".join(f"{name}: {value}" for name, value in head), others, *bodies)),
    lines,
    letters,
    st.lists(letters, max_size=3),
)
wanted = st.builds(Wanted, letters, st.sampled_from(["", "", *FIELDS, "x-mss-mes", "x"]), st.booleans()).map(
    lambda one: Wanted(one.text, one.field, one.whole and not one.field)
)


@given(st.lists(texts, min_size=1, max_size=6), wanted)
def test_a_block_tells_what_its_texts_say(held: list[str], asked: Wanted) -> None:
    parts = build(list(range(1, len(held) + 1)), held)
    bits, exact = search(parts.__getitem__, len(held), asked)
    truth = {place for place, text in enumerate(held) if asked.found_in(text)}
    assert truth <= set(places(bits))
    assert not exact or truth == set(places(bits))


def test_a_full_block_with_words_of_many_and_of_few() -> None:
    held = [f"subject: n{n}\0\0commun pair{n % 2} dix{n % 10} seul{n}" for n in range(BLOCK)]
    parts = build(list(range(BLOCK)), held).__getitem__
    for text in ("commun", "mmu", "pair1", "dix3", "dix", "seul7", "seul1023", "eul102", "rien", "1", "commun pair0"):
        bits, exact = search(parts, BLOCK, Wanted(text))
        found = {place for place, one in enumerate(held) if text in one.partition("\0\0")[2]}
        assert found <= set(places(bits)), text
        assert found == set(places(bits)) or not exact, text
        assert exact == (" " not in text)
