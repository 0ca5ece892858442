"""A session's numbering of the selected folder (RFC 9051 §2.3.1.2, §7.5.1).

Invariants:
- Sequence numbers never lie: number n is the n-th message of `listing` until an EXPUNGE for it or one before it was
  told; messages that the store no longer has keep their place (`gone`) until then.
- New messages get the next numbers, in UID order, and are counted only once EXISTS is told (`told`).
- A folder is selected without its messages being read (`unread`); when they are, they are numbered as they were then.
- Nothing here reads the store or writes to the client: changes come in, what is to be told goes out as values.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from imap.lexer import SAVED, STAR, Ranges, SyntaxFault
from imap.responses import flag_list
from mssante.services.listing import Changes, Entry, Listing
from mssante.services.mailboxes import Folder, Opened

NOTHING_RECENT: Final = 2**63
"""The first UID that is \\Recent where none is."""
_HEARD: Final = 200
"""New messages from which on reading the folder is better than remembering each."""


class View:
    def __init__(self, folder_id: int, name: str, listing: Listing, *, recent_from: int, read_only: bool) -> None:
        self.folder_id = folder_id
        self.name = name
        self.listing = listing
        self.recent_from = recent_from  # messages from this UID on are \Recent for its session
        self.read_only = read_only
        self.unread: Folder | None = None  # the folder as it was selected, until its messages are read
        self._heard: list[Entry] | None = []  # what came since the last look; None: nobody knows
        self.keywords: set[str] = set().union(*listing.keywords.values())  # those the client was told of
        self.saved = array("I")  # UIDs that `$` stands for, ascending (RFC 5182 §2.1)
        self.saved_on: Mapping[int, int] = {}  # save dates (µs) by UID that the running command asked for (RFC 8514)
        self._gone: set[int] = set()  # UIDs the store no longer has, not told yet

    @classmethod
    def of(cls, opened: Opened, name: str, *, recent_from: int, read_only: bool) -> View:
        """A folder that was just selected. `name`: what its client calls it."""
        folder, listing = opened.folder, opened.listing or Listing()
        listing.modseq = folder.highestmodseq
        made = cls(folder.id, name, listing, recent_from=recent_from, read_only=read_only)
        made.unread = folder if opened.listing is None else None
        made.keywords |= opened.outline.keywords
        return made

    def read(self, listing: Listing, gone: Iterable[int]) -> None:
        """The messages as they were when the folder was selected, and the UIDs of those that are gone since."""
        self.listing, self.unread = listing, None
        self._gone.update(gone)

    def __len__(self) -> int:
        return len(self.listing)

    @property
    def recent(self) -> int:
        uids = self.listing.uids
        return len(uids) - bisect_left(uids, self.recent_from)

    def is_recent(self, place: int) -> bool:
        return self.listing.uids[place] >= self.recent_from

    def flags_at(self, place: int) -> bytes:
        """`(\\Seen $Forwarded)`"""
        listing = self.listing
        return flag_list(listing.flags[place], listing.keywords_of(place), recent=self.is_recent(place))

    def is_gone(self, place: int) -> bool:
        return bool(self._gone) and self.listing.uids[place] in self._gone

    def places(self, ranges: Ranges, *, uid: bool) -> Sequence[int]:
        """Places (from 0, ascending, each once) of a sequence set. SyntaxFault for a sequence number that no message
        has; unknown UIDs are passed over (RFC 9051 §6.4.9)."""
        if ranges == SAVED:
            return [place for place in map(self.listing.place, self.saved) if place >= 0]
        count = len(self.listing)
        spans = []
        for first, last in ranges:
            if uid:
                spans.append(self._uid_span(first, last))
            elif count == 0 and STAR in {first, last}:
                continue
            else:
                low, high = sorted((first or count, last or count))
                if high > count:
                    raise SyntaxFault("no message has this sequence number")
                spans.append((low - 1, high))
        return _merged(spans)

    def _uid_span(self, first: int, last: int, among: Sequence[int] | None = None) -> tuple[int, int]:
        uids = self.listing.uids
        highest = uids[-1] if uids else 0
        low, high = sorted((first or highest, last or highest))
        among = uids if among is None else among
        return bisect_left(among, low), bisect_right(among, high)

    def vanished(self, uids: Sequence[int], ranges: Ranges | None) -> list[int]:
        """Those of the expunged UIDs (ascending) that are in the set, all for None, and that the client has not still
        to be told of (RFC 7162 §3.2.10)."""
        if ranges == SAVED:
            held = frozenset(self.saved)
            chosen = [uid for uid in uids if uid in held]
        elif ranges is not None:
            spans = [self._uid_span(first, last, uids) for first, last in ranges]
            chosen = [uids[number] for number in _merged(spans)]
        else:
            chosen = list(uids)
        return [uid for uid in chosen if self.listing.place(uid) < 0]

    def changed_since(self, places: Sequence[int], modseq: int) -> list[int]:
        modseqs = self.listing.modseqs
        return [place for place in places if modseqs[place] > modseq]

    @property
    def stale(self) -> bool:
        """The folder changed since it was last looked at."""
        return self._heard is None or bool(self._heard)

    def hear(self, entry: Entry | None = None) -> None:
        """The folder changed: by this new entry, or, with None, somehow."""
        if entry is None or (self._heard is not None and len(self._heard) >= _HEARD):
            self._heard = None
        elif self._heard is not None:
            self._heard.append(entry)

    def take_heard(self) -> Changes | None:
        """What was heard, from now on no news; None when the store has to be asked: something came that was not told
        whole, or not after what the listing holds."""
        heard, self._heard = self._heard, []
        modseq = self.listing.modseq
        entries = [entry for entry in heard or () if entry.modseq > modseq]
        follows = all(entry.modseq == number for number, entry in enumerate(entries, modseq + 1))
        return Changes(entries, (), modseq + len(entries)) if heard is not None and follows else None

    def follow(self, changes: Changes) -> tuple[bool, list[int]]:
        """Take in what the store changed: whether there are new messages, and the places whose flags changed.
        Messages that are gone keep their numbers until `take_gone`."""
        before = len(self.listing)
        changed = self.listing.put(changes.entries)
        self._gone.update(uid for uid in changes.expunged if self.listing.place(uid) >= 0)
        self.listing.modseq = changes.modseq
        return len(self.listing) > before, [place for place in changed if not self.is_gone(place)]

    def put(self, entries: Iterable[Entry]) -> list[int]:
        """Take in the outcome of the own STORE of the session; the places that are other than before."""
        return self.listing.put(entry for entry in entries if self.listing.place(entry.uid) >= 0)

    def lose(self, uids: Iterable[int]) -> None:
        """The own EXPUNGE or MOVE took these messages away."""
        self._gone.update(uids)

    @property
    def has_gone(self) -> bool:
        return bool(self._gone)

    def gone_messages(self) -> list[int]:
        """Ids of the messages that are gone and not told."""
        places = (self.listing.place(uid) for uid in self._gone)
        return [self.listing.message_ids[place] for place in places if place >= 0]

    def gone_uids(self) -> list[int]:
        """UIDs of the messages that are gone and not told, ascending."""
        return sorted(uid for uid in self._gone if self.listing.place(uid) >= 0)

    def take_gone(self) -> list[int]:
        """The sequence numbers to tell as EXPUNGE, in the order to tell them (highest first); they are dropped here."""
        places = sorted(place for place in map(self.listing.place, self._gone) if place >= 0)
        self.listing.drop(places)
        self._gone.clear()
        return [place + 1 for place in reversed(places)]

    def new_keywords(self) -> bool:
        """Whether there are messages with keywords that the client was not told of; they count as told now."""
        held = self.listing.keywords
        if not held:
            return False
        found = {word for words in held.values() for word in words}
        if found <= self.keywords:
            return False
        self.keywords |= found
        return True

    def uids_at(self, places: Iterable[int]) -> list[int]:
        uids = self.listing.uids
        return [uids[place] for place in places]


def _merged(spans: list[tuple[int, int]]) -> Sequence[int]:
    """The numbers in half-open spans, ascending, each once; a `range` when they are one run."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    if len(joined) == 1:
        return range(*joined[0])
    return [number for low, high in joined for number in range(low, high)]


def partial(places: Sequence[int], window: tuple[int, int]) -> Sequence[int]:
    """The places within a window, counted from 1, or from the end when negative (RFC 9394 §3.1)."""
    first, last = window
    if first > 0:
        return places[first - 1 : last]
    count = len(places)
    return places[max(0, count + last) : max(0, count + first + 1)]


def compact(numbers: Iterable[int]) -> bytes:
    """Ascending or not, numbers as a sequence set: `1:3,7` (order kept, runs joined)."""
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in _runs(numbers))


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    low = high = -1
    for number in numbers:
        if low >= 0 and number == high + 1:
            high = number
            continue
        if low >= 0:
            yield low, high
        low = high = number
    if low >= 0:
        yield low, high
