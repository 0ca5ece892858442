"""A session's numbering, against a plain model: sequence numbers never lie."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap.lexer import Ranges, SyntaxFault
from imap.view import View, compact
from mssante.services.listing import Changes, Entry, Listing, Listings


def entry(uid: int, modseq: int = 1, flags: int = 0, keywords: tuple[str, ...] = ()) -> Entry:
    return Entry(uid, flags, keywords, modseq, 1000 + uid)


def listing(*uids: int) -> Listing:
    made = Listing()
    made.follow(Changes([entry(uid) for uid in uids], (), 1))
    return made


def view(*uids: int) -> View:
    return View(1, "INBOX", listing(*uids), recent_from=10**9, read_only=False)


@pytest.mark.parametrize(
    ("ranges", "uid", "places"),
    [
        (((1, 0),), False, [0, 1, 2]),
        (((0, 1),), False, [0, 1, 2]),
        (((0, 0),), False, [2]),
        (((3, 2),), False, [1, 2]),
        (((2, 2), (1, 1), (1, 2)), False, [0, 1]),
        (((3, 3), (1, 1)), False, [0, 2]),
        (((5, 7),), True, [0, 1]),
        (((8, 0),), True, [2]),
        (((100, 0),), True, [2]),
        (((1, 4),), True, []),
        (((6, 6),), True, []),
        (((1, 2**32 - 1),) * 500, True, [0, 1, 2]),
    ],
)
def test_places(ranges: Ranges, uid: bool, places: list[int]) -> None:
    assert list(view(5, 7, 9).places(ranges, uid=uid)) == places


def test_a_number_that_no_message_has_is_bad_but_an_empty_mailbox_may_be_asked_for_all() -> None:
    with pytest.raises(SyntaxFault):
        view(5, 7).places(((1, 3),), uid=False)
    with pytest.raises(SyntaxFault):
        view().places(((1, 1),), uid=False)
    assert list(view().places(((1, 0),), uid=False)) == []
    assert list(view().places(((1, 0),), uid=True)) == []


def test_sessions_share_columns_until_one_changes() -> None:
    base = listing(1, 2, 3)
    one, other = base.share(), base.share()
    one.put([entry(2, 2, flags=1), entry(4, 2)])
    other.drop([0])
    assert list(base.uids) == [1, 2, 3] and base.flags == bytearray(3)
    assert list(one.uids) == [1, 2, 3, 4] and one.flags == bytearray([0, 1, 0, 0])
    assert list(other.uids) == [2, 3]
    assert list(other.message_ids) == [1002, 1003]


def test_keywords_follow_their_message() -> None:
    made = listing(1, 2, 3)
    assert made.put([entry(2, 2, keywords=("$a",))]) == [1]
    assert made.put([entry(2, 2, keywords=("$a",))]) == []
    made.drop([0])
    assert made.keywords_of(0) == ("$a",)
    made.drop([0])
    assert made.keywords == {}


_steps = st.lists(
    st.tuples(st.sampled_from(["deliver", "expunge", "flag", "look", "look without expunge"]), st.integers(0, 40)),
    max_size=40,
)


@given(_steps)
def test_a_client_that_believes_what_it_is_told_is_right(steps: list[tuple[str, int]]) -> None:
    """A mailbox changes; a view looks now and then; a client applies EXISTS and EXPUNGE. Number n is always the same
    message for client and view, and after a full look both agree with the mailbox."""
    mailbox: dict[int, Entry] = {}
    expunged: dict[int, int] = {}
    modseq, uidnext = 1, 1
    seen = View(1, "INBOX", listing(), recent_from=10**9, read_only=False)
    client: list[int | None] = []
    for step, number in steps:
        if step == "deliver":
            modseq += 1
            mailbox[uidnext] = entry(uidnext, modseq)
            uidnext += 1
        elif step == "expunge" and mailbox:
            uid = sorted(mailbox)[number % len(mailbox)]
            modseq += 1
            del mailbox[uid]
            expunged[uid] = modseq
        elif step == "flag" and mailbox:
            uid = sorted(mailbox)[number % len(mailbox)]
            modseq += 1
            mailbox[uid] = entry(uid, modseq, flags=number % 32)
        elif step.startswith("look"):
            since = seen.listing.modseq
            changes = Changes(
                [one for _, one in sorted(mailbox.items()) if one.modseq > since],
                [uid for uid, when in expunged.items() if when > since],
                modseq,
            )
            new, changed = seen.follow(changes)
            assert all(place < len(client) for place in changed)
            if step == "look":
                for told in seen.take_gone():
                    del client[told - 1]
                assert list(seen.listing.uids) == sorted(mailbox)
            if new:
                client += [None] * (len(seen) - len(client))
            assert len(client) == len(seen)
            for place, uid in enumerate(seen.listing.uids):
                assert client[place] in {None, uid}
                client[place] = uid
                if uid in mailbox:
                    assert seen.listing.flags[place] == mailbox[uid].flags
                else:
                    assert seen.is_gone(place)


@given(_steps, _steps)
def test_a_listing_read_late_has_the_numbers_of_its_moment(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    mailbox: dict[int, Entry] = {}
    expunged: dict[int, int] = {}
    modseq = uidnext = 1

    def play(steps: list[tuple[str, int]]) -> None:
        nonlocal modseq, uidnext
        for step, number in steps:
            modseq += 1
            uid = sorted(mailbox)[number % len(mailbox)] if mailbox else 0
            if step == "deliver":
                mailbox[uidnext] = entry(uidnext, modseq)
                uidnext += 1
            elif step == "expunge" and mailbox:
                expunged[uid] = modseq
                del mailbox[uid]
            elif mailbox:
                mailbox[uid] = entry(uid, modseq, number % 32, ("$a",) * (number % 2))

    play(before)
    then, told = (uidnext, modseq), sorted(mailbox)
    play(after)
    made = Listing()
    made.follow(Changes([mailbox[uid] for uid in sorted(mailbox)], (), modseq))
    made.rewind(*then, gone=sorted(uid for uid, when in expunged.items() if when > then[1] and uid < then[0]))
    assert list(made.uids) == told and made.modseq == then[1]
    later = [one for _, one in sorted(mailbox.items()) if one.modseq > then[1]]
    made.follow(Changes(later, [uid for uid, when in expunged.items() if when > then[1]], modseq))
    assert list(made.uids) == sorted(mailbox)
    assert list(made.flags) == [mailbox[uid].flags for uid in made.uids]
    assert list(made.message_ids) == [mailbox[uid].message_id for uid in made.uids]
    assert [made.keywords_of(place) for place in range(len(made))] == [mailbox[uid].keywords for uid in made.uids]


def test_the_cache_of_listings_is_bounded_and_keeps_the_newest() -> None:
    cache = Listings(limit=5)
    for folder_id in (1, 2, 3):
        cache.put(folder_id, listing(1, 2))
    assert cache.get(1) is None
    assert cache.get(2) is not None and cache.get(3) is not None
    cache.put(4, listing(*range(1, 20)))
    assert cache.get(4) is not None and cache.get(3) is None


@pytest.mark.parametrize(
    ("numbers", "text"), [([], b""), ([3], b"3"), ([1, 2, 3, 7, 9, 10], b"1:3,7,9:10"), ([5, 4], b"5,4")]
)
def test_compact(numbers: list[int], text: bytes) -> None:
    assert compact(numbers) == text


def test_what_was_heard_whole_needs_no_reading() -> None:
    seen = view(5, 7)
    for place in (entry(7, modseq=1), entry(9, modseq=2), entry(12, modseq=3)):  # the first was read already
        seen.hear(place)
    assert seen.stale
    assert seen.take_heard() == Changes([entry(9, modseq=2), entry(12, modseq=3)], (), 3)
    assert not seen.stale


@pytest.mark.parametrize(
    "heard",
    [
        [None],
        [entry(9, modseq=2), None],  # somebody stored a flag after the delivery
        [entry(9, modseq=3)],  # another process did something at 2
        [entry(9, modseq=2), entry(12, modseq=4)],
        [entry(number, modseq=number) for number in range(2, 1000)],  # too many to keep
    ],
)
def test_the_store_is_asked_when_something_is_missing(heard: list[Entry | None]) -> None:
    seen = view(5, 7)
    for place in heard:
        seen.hear(place)
    assert seen.stale
    assert seen.take_heard() is None
    assert not seen.stale
