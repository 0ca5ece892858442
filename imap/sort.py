"""The order of messages (SORT) and their threads (THREAD), RFC 5256. Pure: facts of messages in, places out.

Invariants: every place given comes out once; messages that compare alike keep the order of the mailbox (§3); a thread
is never its own ancestor, whatever the References fields say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from mssante.domain.normal_forms import normalized
from mssante.mime.imap_text import first_address

MAX_SUBJECT: Final = 1000
"""Letters of a subject that are compared: taking its marks away costs the square of their number."""

_SPACES = re.compile(r"\s+")
_BLOB: Final = r"\[[^\[\]]*\]\s*"
_TRAILER = re.compile(r"(\(fwd\)|\s)+$", re.IGNORECASE)
_LEADER = re.compile(rf"(?:{_BLOB})*(?:re|fwd?)\s*(?:{_BLOB})?:\s*|\s+", re.IGNORECASE)
_LEADING_BLOB = re.compile(_BLOB)
_FORWARDED = re.compile(r"\[fwd:(.*)\]", re.IGNORECASE | re.DOTALL)


class Facts(msgspec.Struct, frozen=True):
    """What order and threads depend on. `sent_us`: the Date field, the internal date without one (§2.2)."""

    place: int
    sent_us: int
    internal_us: int
    size: int
    subject: str
    message_id: str
    references: tuple[str, ...]
    envelope: bytes


def base_subject(subject: str) -> tuple[str, bool]:
    """The base subject as it is compared, and whether it was a reply or forward (§2.1)."""
    text = _SPACES.sub(" ", subject[:MAX_SUBJECT])
    reply = False
    while True:
        stripped = _TRAILER.sub("", text)
        reply |= "(fwd)" in text[len(stripped) :].lower()
        text = stripped
        while True:
            leader = _LEADER.match(text)
            if leader is not None and leader.end():
                reply |= not leader[0].isspace()
                text = text[leader.end() :]
                continue
            blob = _LEADING_BLOB.match(text)
            if blob is None or not text[blob.end() :]:
                break
            text = text[blob.end() :]
        forwarded = _FORWARDED.fullmatch(text)
        if forwarded is None:
            return casemap(text), reply
        text, reply = forwarded[1], True


class _Titlecase(dict[int, str]):
    """Each character's simple titlecase mapping, as far as it was asked for."""

    def __missing__(self, code: int) -> str:
        titled = chr(code).title()
        self[code] = found = titled if len(titled) == 1 else chr(code)
        return found


_TITLECASE: Final = _Titlecase()


def casemap(text: str) -> str:
    """i;unicode-casemap (RFC 5051 §2): titlecase, not lower case, so that `_` and `[` come after the letters."""
    return normalized("NFKD", text.translate(_TITLECASE))


def mailbox_of(envelope: bytes, number: int) -> str:
    """The local part of the first address of an ENVELOPE field, for FROM, TO, CC (§3)."""
    return casemap(first_address(envelope, number)[0])


_KEYS: Final[dict[str, Callable[[Facts], int | str]]] = {
    "ARRIVAL": lambda one: one.internal_us,
    "CC": lambda one: mailbox_of(one.envelope, 6),
    "DATE": lambda one: one.sent_us,
    "FROM": lambda one: mailbox_of(one.envelope, 2),
    "SIZE": lambda one: one.size,
    "SUBJECT": lambda one: base_subject(one.subject)[0],
    "TO": lambda one: mailbox_of(one.envelope, 5),
}


def ordered(messages: Iterable[Facts], criteria: Sequence[tuple[str, bool]]) -> list[int]:
    """Places in the order of the criteria (name, descending)."""
    sorted_ones = sorted(messages, key=lambda one: one.place)
    for name, descending in reversed(criteria):  # a stable sort for each, the last criterion first
        # `reverse` keeps the order of equals, as §3 wants.
        sorted_ones.sort(key=_KEYS[name], reverse=descending)
    return [one.place for one in sorted_ones]


class Thread(msgspec.Struct):
    """A message with its answers; `place` None: a message that is not there or not wanted, whose answers belong
    together."""

    place: int | None
    answers: list[Thread] = []


def by_subject(messages: Iterable[Facts]) -> list[Thread]:
    """ORDEREDSUBJECT (§3): one level, threads by their first date, messages by date."""
    groups: dict[str, list[Facts]] = {}
    for one in sorted(messages, key=lambda one: (one.sent_us, one.place)):
        groups.setdefault(base_subject(one.subject)[0], []).append(one)
    return [
        Thread(first.place, [Thread(one.place) for one in rest])
        for first, *rest in sorted(groups.values(), key=lambda group: (group[0].sent_us, group[0].place))
    ]


class _Node:
    """A message of a References field, there or not."""

    __slots__ = ("answers", "facts", "parent")

    def __init__(self, facts: Facts | None = None) -> None:
        self.facts = facts
        self.parent: _Node | None = None
        self.answers: list[_Node] = []

    def adopt(self, child: _Node) -> None:
        if child.parent is not None:
            child.parent.answers.remove(child)
        child.parent = self
        self.answers.append(child)

    def has_above(self, other: _Node) -> bool:
        node: _Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False

    @property
    def when(self) -> tuple[int, int]:
        """Where it sorts among its siblings: a missing message where its first answer does (§3, step 4)."""
        node = self
        while node.facts is None:
            node = node.answers[0]
        return node.facts.sent_us, node.facts.place


def by_references(messages: Iterable[Facts]) -> list[Thread]:
    """REFERENCES (§3), its steps in their order."""
    nodes: dict[str, _Node] = {}
    every: list[_Node] = []
    for one in sorted(messages, key=lambda one: one.place):
        node = nodes.get(one.message_id) if one.message_id else None
        if node is None or node.facts is not None:  # none yet, or an id used twice (1)
            node = _Node()
            nodes.setdefault(one.message_id or f"\0{one.place}", node)
        node.facts = one
        every.append(node)
        above: _Node | None = None
        for reference in one.references:
            parent = nodes.setdefault(reference, _Node())
            if above is not None and parent.parent is None and not above.has_above(parent):
                above.adopt(parent)  # (1.A)
            above = parent
        if node.parent is not None:
            node.parent.answers.remove(node)
            node.parent = None
        if above is not None and not above.has_above(node):
            above.adopt(node)  # (1.B)
    tops = [node for node in {id(node): node for node in [*nodes.values(), *every]}.values() if node.parent is None]
    roots = _gathered([kept for node in tops for kept in _pruned(node)])
    return [_thread(node) for node in roots]


def _pruned(top: _Node) -> list[_Node]:
    """What stays of a tree (3): missing messages give way to their answers, at the top only to a lone one. Siblings
    are sorted (4)."""
    order: list[_Node] = []
    waiting = [top]
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting.extend(node.answers)
    for node in reversed(order):
        kept: list[_Node] = []
        for answer in node.answers:
            kept.extend([answer] if answer.facts is not None else answer.answers)
        node.answers = sorted(kept, key=lambda one: one.when)
        for answer in kept:
            answer.parent = node
    if top.facts is None and len(top.answers) < 2:
        for answer in top.answers:
            answer.parent = None
        return top.answers
    return [top]


def _gathered(roots: list[_Node]) -> list[_Node]:
    """Threads of one subject become one (5), all sorted by date (4, 6)."""
    roots.sort(key=lambda one: one.when)
    table: dict[str, _Node] = {}
    for root in roots:
        subject, reply = _subject(root)
        held = table.get(subject)
        if subject and (
            held is None
            or (root.facts is None and held.facts is not None)
            or (held.facts is not None and _subject(held)[1] and not reply)
        ):
            table[subject] = root
    kept: list[_Node] = []
    for root in roots:
        subject, reply = _subject(root)
        held = table.get(subject)
        if not subject or held is None or held is root:
            kept.append(root)
        elif held.facts is None and root.facts is None:
            for answer in list(root.answers):
                held.adopt(answer)
        elif held.facts is None or (reply and not _subject(held)[1]):
            held.adopt(root)
        else:  # both stand for themselves: a missing message takes them
            both = _Node()
            kept = [both if one is held else one for one in kept]
            if both not in kept:
                kept.append(both)
            both.adopt(held)
            both.adopt(root)
            table[subject] = both
    for node in kept:
        node.answers.sort(key=lambda one: one.when)
    return sorted((node for node in kept if node.parent is None), key=lambda one: one.when)


def _subject(root: _Node) -> tuple[str, bool]:
    node = root
    while node.facts is None:
        node = node.answers[0]
    return base_subject(node.facts.subject)


def _thread(root: _Node) -> Thread:
    whole = Thread(root.facts.place if root.facts is not None else None, [])
    waiting = [(root, whole)]
    while waiting:
        node, thread = waiting.pop()
        for answer in node.answers:
            below = Thread(answer.facts.place if answer.facts is not None else None, [])
            thread.answers.append(below)
            waiting.append((answer, below))
    return whole


def told(thread: Thread, number: Callable[[int], int]) -> bytes:
    """A thread as THREAD tells it (§4): `(3 6 (4 23)(44 7 96))`. Deep threads need no deep stack."""
    out: list[bytes] = []
    waiting: list[Thread | bytes] = [b")", thread, b"("]
    while waiting:
        one = waiting.pop()
        if isinstance(one, bytes):
            out.append(one)
            continue
        if one.place is not None:
            out.append(b"%d" % number(one.place))
        if len(one.answers) == 1 and one.place is not None:
            out.append(b" ")
            waiting.append(one.answers[0])
        elif one.answers:
            if one.place is not None:
                out.append(b" ")
            for answer in reversed(one.answers):
                waiting += [b")", answer, b"("]
    return b"".join(out)
