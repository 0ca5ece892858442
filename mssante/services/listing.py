"""What a folder holds, in columns: one small number per message and column instead of an object per message.

Invariants:
- `uids` ascends strictly; all columns have its length; place in the columns = place in the folder.
- A listing is complete as of its `modseq`: what the store changed later is not in it, all that came before is.
- A shared listing is never changed in place: `own()` copies the columns first, once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from mssante.domain.flags import SEEN
from mssante.store.columns import Columns, Outline
from mssante.store.mail import Entry

__all__ = ["Changes", "Entry", "Listing", "Listings", "Outline"]

_UNSEEN = bytes(not bits & SEEN for bits in range(256))


class Changes(msgspec.Struct, frozen=True):
    """What happened to a folder after a modseq: entries new or changed, UIDs gone, and the modseq it brings to."""

    entries: Sequence[Entry]
    expunged: Sequence[int]
    modseq: int


class Listing:
    __slots__ = ("_shared", "flags", "keywords", "message_ids", "modseq", "modseqs", "uids")

    def __init__(self) -> None:
        self.uids = array("I")
        self.flags = bytearray()
        self.modseqs = array("q")
        self.message_ids = array("q")
        self.keywords: dict[int, tuple[str, ...]] = {}
        self.modseq = 0
        self._shared = False

    @classmethod
    def of(cls, columns: Columns, modseq: int) -> Listing:
        """The listing of a folder whose highest modseq is `modseq`; it takes the columns over."""
        made = cls()
        made.uids, made.flags, made.modseqs = columns.uids, columns.flags, columns.modseqs
        made.message_ids, made.keywords, made.modseq = columns.message_ids, columns.keywords, modseq
        return made

    def __len__(self) -> int:
        return len(self.uids)

    def share(self) -> Listing:
        """A listing with the same columns; whichever of the two changes first makes its own."""
        other = Listing()
        other.uids, other.flags, other.message_ids = self.uids, self.flags, self.message_ids
        other.modseqs, other.keywords, other.modseq = self.modseqs, self.keywords, self.modseq
        self._shared = other._shared = True
        return other

    def own(self) -> None:
        if self._shared:
            self.uids, self.flags, self.message_ids = self.uids[:], self.flags[:], self.message_ids[:]
            self.modseqs, self.keywords = self.modseqs[:], dict(self.keywords)
            self._shared = False

    def outline(self) -> Outline:
        """What of it is told when the folder is selected."""
        words = frozenset(word for words in self.keywords.values() for word in words)
        return Outline(self.flags.translate(_UNSEEN).find(1) + 1, words)

    def place(self, uid: int) -> int:
        """Place of a UID, -1 when the folder has no such message."""
        place = bisect_left(self.uids, uid)
        return place if place < len(self.uids) and self.uids[place] == uid else -1

    def keywords_of(self, place: int) -> tuple[str, ...]:
        return self.keywords.get(self.uids[place], ()) if self.keywords else ()

    def put(self, entries: Iterable[Entry]) -> list[int]:
        """Take new and changed entries in; places of known messages that were changed since they were taken in."""
        changed: list[int] = []
        for entry in entries:
            if not self.uids or entry.uid > self.uids[-1]:
                self.own()
                self.uids.append(entry.uid)
                self.flags.append(entry.flags)
                self.modseqs.append(entry.modseq)
                self.message_ids.append(entry.message_id)
                if entry.keywords:
                    self.keywords[entry.uid] = entry.keywords
                continue
            place = self.place(entry.uid)
            if place < 0 or self.modseqs[place] >= entry.modseq:
                continue
            self.own()
            self.flags[place], self.modseqs[place] = entry.flags, entry.modseq
            self.keywords.pop(entry.uid, None)
            if entry.keywords:
                self.keywords[entry.uid] = entry.keywords
            changed.append(place)
        return changed

    def drop(self, places: Sequence[int]) -> None:
        """Take messages out, by ascending places."""
        if not places:
            return
        for place in places:
            if self.keywords:
                self.own()
                self.keywords.pop(self.uids[place], None)
        uids, flags, modseqs, message_ids = array("I"), bytearray(), array("q"), array("q")
        start = 0
        for place in [*places, len(self.uids)]:
            uids += self.uids[start:place]
            flags += self.flags[start:place]
            modseqs += self.modseqs[start:place]
            message_ids += self.message_ids[start:place]
            start = place + 1
        if self._shared:
            self.keywords = dict(self.keywords)
        self.uids, self.flags, self.modseqs, self.message_ids = uids, flags, modseqs, message_ids
        self._shared = False

    def rewind(self, uidnext: int, modseq: int, gone: Sequence[int]) -> None:
        """Take the listing back to when the folder had this uidnext and modseq: without the messages that came since,
        and with those that went since (`gone`) in their places, of which no more is known. Flags stay those of now, to
        be told as changed by `follow`."""
        known = bisect_left(self.uids, uidnext)
        rows = [*zip(self.uids[:known], self.flags, self.modseqs, self.message_ids, strict=False)]
        rows = sorted([*rows, *((uid, 0, modseq, 0) for uid in gone if uid < uidnext)])
        self.uids = array("I", [uid for uid, *_ in rows])
        self.flags = bytearray([flags for _, flags, *_ in rows])
        self.modseqs = array("q", [min(changed, modseq) for _, _, changed, _ in rows])
        self.message_ids = array("q", [message_id for *_, message_id in rows])
        self.keywords = {uid: words for uid, words in self.keywords.items() if uid < uidnext}
        self.modseq, self._shared = modseq, False

    def follow(self, changes: Changes) -> None:
        """Bring the listing to the changes' modseq."""
        self.put(changes.entries)
        places = [place for place in map(self.place, sorted(changes.expunged)) if place >= 0]
        self.drop(places)
        self.modseq = changes.modseq


class Listings:
    """Listings of folders opened a moment ago, least recently used out first. `limit` counts messages."""

    def __init__(self, limit: int = 2_000_000) -> None:
        self._limit, self._held = limit, 0
        self._listings: OrderedDict[int, Listing] = OrderedDict()

    def get(self, folder_id: int) -> Listing | None:
        return self._listings.get(folder_id)

    def put(self, folder_id: int, listing: Listing) -> None:
        self.forget(folder_id)
        self._listings[folder_id] = listing
        self._held += len(listing)
        while self._held > self._limit and len(self._listings) > 1:
            self._held -= len(self._listings.popitem(last=False)[1])

    def forget(self, folder_id: int) -> None:
        old = self._listings.pop(folder_id, None)
        if old is not None:
            self._held -= len(old)
