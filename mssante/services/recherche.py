"""The annuaire searched as people type, and the real addresses nearest to a wrong one.

Always true here:
- One box, five axes (facts 2.7.5): every word asked for is found in the line, whole or begun, whole ones first; words
  are corrected by one slip when nothing else is found. Who is asked for by RPPS comes first.
- No bal in liste rouge is shown, whatever a source says of it.
- `nearest` and `current` are for people of this house: what they name would help whoever guesses addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from annuaire.fiche import Fiche, merged
from annuaire.source import decoded
from annuaire.words import SHORTEST_CORRECTED, is_near, words_of
from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.identifiers import Adeli, IdentifierError, Rpps
from mssante.store import Conn
from mssante.store import annuaire as copies
from mssante.store.accounts import Bal, bals_of, find_bals
from mssante.store.annuaire import Record
from mssante.store.publications import bals_beginning

CANDIDATES = 200
"""Lines that a search looks at, of each degree of likeness."""
COMPLETIONS = 40
LOOKALIKES = 2000
WORDS = 8
"""Words of a search that count."""
NEAREST = 3
LINE = 300
"""Octets of an SMTP answer for addresses."""
INDEXED = 4
"""Letters of a beginning that the database finds at once; longer ones are completed from its words."""


def search(conn: Conn, asked: str, most: int = 50) -> list[Fiche]:
    """The best lines for what somebody typed; none for a text without a word."""
    found: dict[int, Fiche] = {}
    for holder in _holders(asked):
        _take(conn, found, copies.by_holder(conn, holder))
    words = list(dict.fromkeys(words_of(asked)))[:WORDS]
    if not words:
        return merged(found.values())[:most]
    whole = [[word] for word in words]
    _take(conn, found, copies.matching(conn, whole, CANDIDATES))
    begun = whole if len(found) >= most else [_begun(conn, word) for word in words]
    if begun != whole:
        _take(conn, found, copies.matching(conn, begun, CANDIDATES))
    if not found:
        corrected = [_near(conn, word, known) for word, known in zip(words, begun, strict=True)]
        _take(conn, found, copies.matching(conn, corrected, CANDIDATES))
    return merged(found.values())[:most]


def show(conn: Conn, asked: str) -> list[Fiche]:
    """Every line of one bal (its address) or of one person (RPPS or ADELI, whichever the annuaire knows by now).

    Raises ValueError for a text that is neither.
    """
    found: dict[int, Fiche] = {}
    if "@" in asked:
        _take(conn, found, copies.by_address(conn, str(parse_address(asked))))
        return merged(found.values())
    holders = _holders(asked)
    if not holders:
        raise AddressError("neither an address nor an RPPS or ADELI number")
    for holder in holders:
        _take(conn, found, copies.by_holder(conn, holder))
    # Under the ADELI stands who has an RPPS since: the lines of the same address say so.
    for address in {fiche.address for fiche in found.values() if fiche.holder.startswith("0")}:
        _take(conn, found, copies.by_address(conn, str(address)))
    return merged(found.values())


def nearest(conn: Conn, wrong: Address) -> list[str]:
    """The addresses of this house most like one that does not exist, of the same domain, active, not in liste rouge."""
    named = copies.matching(
        conn,
        [*(_near(conn, word, _begun(conn, word)) for word in words_of(wrong.local)), words_of(wrong.domain)[:1]],
        CANDIDATES,
    )
    near = {record.address for record in named} | set(bals_beginning(conn, wrong.local[:2], wrong.domain))
    like = SequenceMatcher(b=wrong.local)
    ranked = []
    for address in near:
        local, _, domain = address.rpartition("@")
        like.set_seq1(local)
        if domain == wrong.domain and like.real_quick_ratio() > 0.75 and like.quick_ratio() > 0.75:
            ranked.append((-max(like.ratio(), is_near(local, wrong.local)), address))
    best = [address for score, address in sorted(ranked) if score < -0.75]
    bals = find_bals(conn, best[: 4 * NEAREST])
    return [address for address in best if address in bals and _may_be_named(bals[address])][:NEAREST]


def current(conn: Conn, closed: Bal) -> list[str]:
    """Where the holder of a closed bal is written to now: an own bal, or what the annuaire knows under his RPPS."""
    if closed.type is not BalType.PER or closed.liste_rouge or not closed.rpps:
        return []
    own = [bal.address for bal in bals_of(conn, Rpps(closed.rpps)) if _may_be_named(bal)]
    known = [record.address for record in copies.by_holder(conn, Rpps(closed.rpps).national)]
    bals = find_bals(conn, known)
    named = [address for address in known if address not in bals or _may_be_named(bals[address])]
    return list(dict.fromkeys(own + named))[:NEAREST]


def in_a_line(addresses: Sequence[str]) -> str:
    """As many of them, in their order, as an SMTP answer has room for, in ASCII (RFC 5321 §4.5.3.1.5)."""
    said = ""
    for address in addresses:
        longer = f"{said}, {address}" if said else address
        if address.isascii() and len(longer) <= LINE:
            said = longer
    return said


def _may_be_named(bal: Bal) -> bool:
    return bal.state is BalState.ACTIVE and bal.type is not BalType.PAT and not bal.liste_rouge


def _holders(asked: str) -> list[str]:
    """The national identifiers among the words."""
    found = []
    for word in asked.split():
        for kind in (Rpps, Adeli):
            try:
                found.append(kind.parse(word, checked=False).national)
            except IdentifierError:
                continue
    return found


def _take(conn: Conn, found: dict[int, Fiche], records: Sequence[Record]) -> None:
    """Adds what is not there yet, sorted by name, without own bals that are in liste rouge."""
    new = [record for record in records if record.id not in found]
    hidden = {
        address for address, bal in find_bals(conn, {record.address for record in new}).items() if bal.liste_rouge
    }
    fiches = [(record.id, decoded(record.record)) for record in new if record.address not in hidden]
    found |= sorted(fiches, key=lambda pair: (pair[1].name, str(pair[1].address)))


def _begun(conn: Conn, word: str) -> list[str]:
    """The words that begin so: by name when they are few, as the database is slow to gather a long list of lines."""
    if len(word) > INDEXED and word.isalpha():
        known = copies.completions(conn, word, COMPLETIONS)
        if len(known) < COMPLETIONS:
            return known
    return [f"{word}*"]


def _near(conn: Conn, word: str, begun: list[str]) -> list[str]:
    """The words that begin so, and those that one slip makes of it."""
    if len(word) < SHORTEST_CORRECTED or not word.isalpha():
        return begun
    near = (other for other in copies.lookalikes(conn, word, LOOKALIKES) if is_near(word, other))
    return list(dict.fromkeys([*begun, *near]))[: 2 * COMPLETIONS]
