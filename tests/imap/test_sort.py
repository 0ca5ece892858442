"""Order and threads of messages (RFC 5256), against its examples and against what must hold for any messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap.sort import Facts, Thread, base_subject, by_references, by_subject, mailbox_of, ordered, told

ENVELOPE = (
    b'("d" {4}\r\na"b) (("N" NIL "Zo\\"e" "x")) (("N" NIL "s" "x")) NIL (("T" NIL "Bob" "x")("U" NIL "al" "x")) NIL NIL'
    b' NIL "<1@x>")'
)


def facts(place: int, subject: str = "", references: tuple[str, ...] = (), sent: int | None = None) -> Facts:
    when = place if sent is None else sent
    return Facts(place, when, place, 100 - place, subject, f"<{place}>", references, ENVELOPE)


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        ("Bonjour", "BONJOUR", False),
        ("Re: Bonjour", "BONJOUR", True),
        ("RE : [liste] FW: Bonjour  (fwd)", "BONJOUR", True),
        ("re[2]: a\tb", "A B", True),
        ("[Fwd: Re: x]", "X", True),
        ("[liste]", "[LISTE]", False),
        ("[a] [b] c", "C", False),
        ("Reponse", "REPONSE", False),
        ("ÉTÉ", "E\u0301TE\u0301", False),
        ("", "", False),
        ("re:", "", True),
    ],
)
def test_base_subject(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


def test_mailboxes_of_an_envelope() -> None:
    assert [mailbox_of(ENVELOPE, number) for number in (2, 5, 6)] == ['ZO"E', "BOB", ""]


def test_the_order_of_subjects_is_that_of_their_titlecase() -> None:
    """RFC 5051 §2: what lies between the capitals and the small letters comes after both."""
    some = [facts(place, subject) for place, subject in enumerate(("_", "b", "[x]", "A", "B (fwd)", ""))]
    assert ordered(some, [("SUBJECT", False)]) == [5, 3, 1, 4, 2, 0]


def test_equals_keep_their_order_and_descend_together() -> None:
    some = [facts(0, "b"), facts(1, "a"), facts(2, "b"), facts(3, "a")]
    assert ordered(some, [("SUBJECT", False), ("SIZE", False)]) == [3, 1, 2, 0]
    assert ordered(some, [("SUBJECT", True)]) == [0, 2, 1, 3]
    assert ordered(some, [("FROM", False)]) == [0, 1, 2, 3]


def text(threads: list[Thread]) -> str:
    return b"".join(told(one, lambda place: place) for one in threads).decode()


def test_threads_by_subject() -> None:
    some = [facts(1, "x"), facts(2, "y"), facts(3, "Re: x"), facts(4, "x (fwd)"), facts(5, "z", sent=0)]
    assert text(by_subject(some)) == "(5)(1 (3)(4))(2)"


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        # Answers below what they answer; two answers branch.
        (
            [facts(1, "a"), facts(2, "b", ("<1>",)), facts(3, "c", ("<1>", "<2>")), facts(4, "d", ("<1>",))],
            "(1 (2 3)(4))",
        ),
        # A missing message holds its answers together; one answer stands for itself.
        ([facts(2, "b", ("<1>",)), facts(3, "c", ("<1>",)), facts(5, "d", ("<4>",))], "((2)(3))(5)"),
        # Subjects bring threads together: a reply below its original, equals side by side.
        ([facts(1, "a"), facts(2, "Re: a")], "(1 2)"),
        ([facts(1, "a"), facts(2, "a")], "((1)(2))"),
        ([facts(1, "Re: a", sent=1), facts(2, "a", sent=2)], "(2 1)"),
        # The order is that of dates, not of the mailbox.
        ([facts(1, "a", sent=9), facts(2, "b", sent=3)], "(2)(1)"),
        # Two messages that name each other; one that names itself.
        ([facts(1, "a", ("<2>",)), facts(2, "b", ("<1>",)), facts(3, "c", ("<3>",))], "(2 1)(3)"),
    ],
)
def test_threads_by_references(messages: list[Facts], threads: str) -> None:
    assert text(by_references(messages)) == threads


def places(threads: list[Thread]) -> list[int]:
    found, waiting = [], list(threads)
    while waiting:
        one = waiting.pop()
        found += [one.place] if one.place is not None else []
        waiting += one.answers
    return sorted(found)


_ids = st.integers(0, 9).map(lambda number: f"<{number}>")


@given(
    st.lists(
        st.tuples(_ids, st.lists(_ids, max_size=4), st.sampled_from(["", "a", "Re: a", "b"]), st.integers(0, 5)),
        max_size=12,
    )
)
def test_every_message_is_in_one_thread_once(made: list[tuple[str, list[str], str, int]]) -> None:
    some = [
        Facts(place, sent, place, 1, subject, message_id, tuple(references), ENVELOPE)
        for place, (message_id, references, subject, sent) in enumerate(made)
    ]
    assert places(by_references(some)) == list(range(len(some)))
    assert places(by_subject(some)) == list(range(len(some)))


def test_a_thread_may_be_deeper_than_the_stack() -> None:
    deep = [facts(place, "", (f"<{place - 1}>",)) for place in range(5000)]
    assert text(by_references(deep)) == "(" + " ".join(map(str, range(5000))) + ")"


@pytest.mark.parametrize("piece", ["(fwd)", "[a]", "[fwd:", "re:", "[", "re["])
def test_hostile_subjects_are_read_in_bounded_time(piece: str) -> None:
    base_subject(piece * 200_000 + "x" + "]" * 200_000)
