"""SEARCH and UID SEARCH (RFC 9051 §6.4.4): answered as RFC 3501 §7.2.5 does, or with the results that RETURN names
(ESEARCH RFC 4731, SEARCHRES RFC 5182, PARTIAL RFC 9394, modseqs RFC 7162 §3.1.5, §3.1.6).

Invariant: `$` is what the last SEARCH RETURN (SAVE) found, nothing when that one was refused (RFC 5182 §2.1).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from imap.lexer import Refused, SyntaxFault
from imap.responses import string
from imap.search import asks, find
from imap.search_keys import ModSeq
from imap.session import Session
from imap.values import Search
from imap.view import View, compact, partial
from mssante.services.mailboxes import MailboxRefused


async def search(session: Session, value: Search) -> None:
    """What arrived meanwhile is found too."""
    if value.charset and "UTF8=ACCEPT" in session.enabled:
        raise SyntaxFault("no CHARSET after ENABLE UTF8=ACCEPT")  # RFC 6855 §3
    if session.selected.stale:
        await session.sync(expunge=False)
    view = session.selected
    modseq = asks(value.key, ModSeq)  # RFC 7162 §3.1.5
    if modseq:
        session.use_condstore()
    returns = frozenset({"ALL"}) if value.returns is None and session.rev2 else value.returns
    try:
        found = await find(view, session.own, value.key, session.wire.breathe)
    except (Refused, MailboxRefused):
        if returns is not None and "SAVE" in returns:
            view.saved = array("I")
        raise
    places = [place for place in found if not view.is_gone(place)]
    if returns is None:
        numbers = view.uids_at(places) if value.uid else [place + 1 for place in places]
        told = b"".join([b" %d" % number for number in numbers])
        if modseq and places:
            told += b" (MODSEQ %d)" % _highest(view, places)
        session.wire.write(b"* SEARCH" + told + b"\r\n")
        return
    results = _results(returns, value.partial, places)
    if "SAVE" in returns:
        view.saved = array("I", view.uids_at(_saved(returns, results, places)))
    if returns != {"SAVE"}:  # RFC 5182 §2.1: alone it has no answer
        session.wire.write(_esearch(session, value, view, results, len(places), modseq))


Results = dict[str, Sequence[int]]
"""Places by result option; COUNT has all of them."""


def _results(returns: frozenset[str], window: tuple[int, int] | None, places: Sequence[int]) -> Results:
    results: Results = {}
    if "MIN" in returns:
        results["MIN"] = places[:1]
    if "MAX" in returns:
        results["MAX"] = places[-1:]
    if "ALL" in returns:
        results["ALL"] = places
    if window is not None:
        results["PARTIAL"] = partial(places, window)
    if "COUNT" in returns:
        results["COUNT"] = places
    return results


def _saved(returns: frozenset[str], results: Results, places: Sequence[int]) -> Sequence[int]:
    """What `$` stands for: all, unless only MIN, MAX or PARTIAL were asked for (RFC 5182 §2.1, RFC 9394 §3.1)."""
    if returns == {"SAVE"} or returns & {"ALL", "COUNT"}:
        return places
    return sorted({place for chosen in results.values() for place in chosen})


def _esearch(session: Session, value: Search, view: View, results: Results, count: int, modseq: bool) -> bytes:
    words = [b"* ESEARCH (TAG " + string(session.tag) + b")"]
    if value.uid:
        words.append(b"UID")
    for name, places in results.items():
        numbers = view.uids_at(places) if value.uid else [place + 1 for place in places]
        if name == "COUNT":
            words.append(b"COUNT %d" % count)
        elif name == "PARTIAL" and value.partial is not None:
            words.append(b"PARTIAL (%d:%d %b)" % (*value.partial, compact(numbers) or b"NIL"))
        elif numbers:
            words.append(name.encode("ascii") + b" " + compact(numbers))
    if modseq and count:
        words.append(b"MODSEQ %d" % _highest(view, sorted({place for some in results.values() for place in some})))
    return b" ".join(words) + b"\r\n"


def _highest(view: View, places: Sequence[int]) -> int:
    return max((view.listing.modseqs[place] for place in places), default=view.listing.modseq)
