"""What a session wants to hear of unasked (RFC 5465), and what of it has happened between two looks at the store.

Invariants:
- Pure: looks come in, what is to be told comes out; the difference of two looks misses nothing, whatever hint was lost.
- `SELECTED` and `SELECTED-DELAYED` are about the selected folder, all other filters about the rest (§6).
- What is told of a folder's counters is remembered; the selected folder's stay as they were, so that what happens in it
  unseen is told once it is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntFlag
from typing import Final

import msgspec

from imap.fetch_items import Item
from imap.mailbox_names import superiors
from mssante.services.annotations import SPECIAL_USE
from mssante.services.mailboxes import Folder

MAX_GROUPS: Final = 50
SELECTED: Final = frozenset({"SELECTED", "SELECTED-DELAYED"})
NAMED: Final = frozenset({"SUBTREE", "MAILBOXES"})
FILTERS: Final = SELECTED | NAMED | {"INBOXES", "PERSONAL", "SUBSCRIBED"}


class Events(IntFlag):
    """MessageNew and MessageExpunge are one: either alone is an error (§5)."""

    NONE = 0
    MESSAGES = 1
    FLAGS = 2
    NAMES = 4
    SUBSCRIPTIONS = 8
    NOTES = 16
    SERVER_NOTES = 32


COUNTED: Final = Events.MESSAGES | Events.FLAGS


class Group(msgspec.Struct, frozen=True):
    """`event-group` (§8). `filter` is one of FILTERS, `names` what SUBTREE and MAILBOXES are of; `items` what to fetch
    of a new message in the selected folder."""

    filter: str
    events: Events = Events.NONE
    names: frozenset[str] = frozenset()
    items: tuple[Item, ...] = ()

    def covers(self, name: str, *, own: bool, subscribed: bool) -> bool:
        """Whether a folder is meant, when it is not the selected one."""
        match self.filter:
            case "INBOXES":
                return own and name == "INBOX"  # arriving mail is put nowhere else
            case "PERSONAL":
                return own
            case "SUBSCRIBED":
                return subscribed
            case "MAILBOXES":
                return name in self.names
            case "SUBTREE":
                return name in self.names or not self.names.isdisjoint(superiors(name))
        return False


class Place(msgspec.Struct, frozen=True):
    """A name as LIST would tell it, and what of it is of interest. `folder` None: a name that is subscribed to, or was
    there, and has no folder, or the empty one, which is the server (RFC 5464 §4.2); `parent`: there are folders below
    it; `notes`: marks of what is noted of it, None for what is not."""

    name: str
    folder: Folder | None
    subscribed: bool
    parent: bool
    events: Events
    notes: Mapping[str, int | None] = {}

    @property
    def key(self) -> int:
        """The folder's id, 0 without one."""
        return self.folder.id if self.folder is not None else 0

    @property
    def identity(self) -> tuple[str, int, bool]:
        return self.name, self.key, self.parent

    @property
    def counters(self) -> tuple[int, ...]:
        folder = self.folder
        return (folder.uidvalidity, folder.uidnext, folder.messages, folder.highestmodseq) if folder else ()


class News(msgspec.Struct, frozen=True):
    """`named`: names to tell with LIST, each with the one it had before if it was renamed; `counted`: folders to tell
    with STATUS; `noted`: places to tell with METADATA, each with the names of what changed (RFC 5465 §5.6, §5.7)."""

    named: Sequence[tuple[Place, str]]
    counted: Sequence[Place]
    noted: Sequence[tuple[Place, Sequence[str]]]


class Watch:
    """`stale`: a hint said that something happened; `listening`: how to stop each hint."""

    __slots__ = ("_groups", "_places", "_told", "delayed", "items", "listening", "selected", "stale")

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        chosen = next((group for group in groups if group.filter in SELECTED), Group("SELECTED"))
        self.selected = chosen.events
        self.items = chosen.items
        self.delayed = chosen.filter == "SELECTED-DELAYED"
        self.stale = False
        self.listening: dict[tuple[str, int], Callable[[], None]] = {}
        self._groups = [group for group in groups if group.filter not in SELECTED and group.events]
        self._places: dict[str | int, Place] = {}
        self._told: dict[str | int, tuple[int, ...]] = {}

    @property
    def elsewhere(self) -> bool:
        """Whether anything but the selected folder is of interest."""
        return bool(self._groups)

    @property
    def notes(self) -> bool:
        """Whether what is noted is of interest."""
        return any(group.events & (Events.NOTES | Events.SERVER_NOTES) for group in self._groups)

    def know(self, folder: Folder | None, notes: Mapping[str, bytes | None]) -> None:
        """The session itself noted this of a folder, or of the server: no news to it."""
        key = folder.id if folder is not None else 0
        if key in self._places:
            marks = {name: None if note is None else hash(note) for name, note in notes.items()}
            place = self._places[key]
            self._places[key] = msgspec.structs.replace(place, notes={**place.notes, **marks})

    def counted(self) -> list[Place]:
        """The folders, as last looked at, whose messages are of interest."""
        return [place for place in self._places.values() if place.folder is not None and place.events & COUNTED]

    def bals(self, own: int) -> set[int]:
        """The bals whose names were last looked at, the holder's own among them."""
        return {own} | {place.folder.bal_id for place in self._places.values() if place.folder is not None}

    def look(
        self,
        folders: Iterable[tuple[bool, Folder]],
        kept: Iterable[str],
        selected: int,
        notes: Mapping[int, Mapping[str, int]],
    ) -> News:
        """Compare what is there now, folders as (whether it is the holder's own, folder) and subscribed names without
        one, with the last look. `selected`: the id of the selected folder; `notes`: marks of what is noted, by folder
        id and name."""
        listed = list(folders)
        parents = {above for _, folder in listed for above in superiors(folder.name)}
        server = any(group.events & Events.SERVER_NOTES for group in self._groups)
        places: dict[str | int, Place] = {
            0: Place("", None, False, False, Events.NOTES if server else Events.NONE, notes.get(0, {}))
        }
        for own, folder in listed:
            events = self._asked(folder.name, own=own, subscribed=folder.subscribed)
            noted = {SPECIAL_USE: hash(folder.special_use.encode())} if folder.special_use else {}
            noted |= notes.get(folder.id, {})
            places[folder.id] = Place(folder.name, folder, folder.subscribed, folder.name in parents, events, noted)
        for name in set(kept).difference(folder.name for _, folder in listed):
            places[name] = Place(name, None, True, name in parents, self._asked(name, own=True, subscribed=True))
        before, self._places = self._places, places
        by_name = {place.name: place for place in before.values()}
        named, noted_anew = [], []
        for key, place in places.items():
            old = before.get(key) or by_name.get(place.name)
            if self._is_news(old, place):
                named.append((place, old.name if old is not None and old.name != place.name else ""))
            if place.events & Events.NOTES and (names := _changed(old.notes if old is not None else {}, place.notes)):
                noted_anew.append((place, names))
        here = {place.name for place in places.values()}
        for key in before.keys() - places.keys():
            self._told.pop(key, None)
            old = before[key]
            gone = Place(old.name, None, False, old.name in parents, old.events)
            if old.name not in here and self._is_news(old, gone):
                named.append((gone, ""))
        named.sort(key=lambda pair: pair[0].name)
        return News(named, [place for place in self.counted() if self._counts(place, selected)], noted_anew)

    def _asked(self, name: str, *, own: bool, subscribed: bool) -> Events:
        """Several groups may be about one folder (§6)."""
        events = Events.NONE
        for group in self._groups:
            if group.covers(name, own=own, subscribed=subscribed):
                events |= group.events
        return events

    @staticmethod
    def _is_news(old: Place | None, new: Place) -> bool:
        events = new.events | (old.events if old is not None else Events.NONE)
        if events & Events.NAMES and (old.identity if old is not None else None) != new.identity:
            return new.folder is not None or (old is not None and old.folder is not None)
        return bool(events & Events.SUBSCRIPTIONS) and new.subscribed != (old is not None and old.subscribed)

    def _counts(self, place: Place, selected: int) -> bool:
        """Whether a folder's counters are other than last told, in what is of interest."""
        now, last = place.counters, self._told.get(place.key, (0, 1, 0, 1))
        if place.key == selected:
            self._told.setdefault(place.key, now)
            return False
        self._told[place.key] = now
        return now[1:3] != last[1:3] if not place.events & Events.FLAGS else now[1:] != last[1:]

    def end(self) -> None:
        for stop in self.listening.values():
            stop()
        self.listening.clear()


def _changed(old: Mapping[str, int | None], new: Mapping[str, int | None]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
