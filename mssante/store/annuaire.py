"""The copy of the annuaire, kept by generations, so that a new one may be written while the last one is served.

Always true here:
- Who reads sees generation `Copy.generation` and nothing else: the lines with born <= it < gone. A line of the next
  generation is written, and one of this generation marked, long before anybody sees a difference.
- `flip` alone makes the next generation the one that is served, in one row of one transaction; a reading that was cut
  or refused leaves what is served as it was, to the letter.
- One process writes the copy at a time, by a lease that each batch renews.
- The directory is public: nothing here is sealed, and no bal in liste rouge is in it.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, or_, select, text, update

from mssante.domain.annuaire import Fault, Line
from mssante.store.errors import StoreError
from mssante.store.prepared import put
from mssante.store.schema import annuaire_fiche as fiche
from mssante.store.schema import annuaire_mot as mot
from mssante.store.schema import meta
from mssante.store.writer import Tx

LEASE_US = 180_000_000
"""How long a reading may be silent before another process may begin one."""
SWEPT = 500
"""Lines that one transaction erases."""
GATHERED = 200
"""Pages of the index of words that one transaction writes."""
_STATE = "annuaire"


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the copy. Times in microseconds, 0: never. ``cursor``: where the source is read on from."""

    generation: int = 0
    source: str = ""
    cursor: str = ""
    complete_us: int = 0
    """When everything was last read."""
    checked_us: int = 0
    """When the source was last read to its end, changed or not."""
    changed_us: int = 0
    tried_us: int = 0
    problem: str = ""
    """Why the last attempt came to nothing."""
    fiches: int = 0
    addresses: int = 0
    holders: int = 0
    added: int = 0
    removed: int = 0
    faulty: int = 0
    faults: tuple[Fault, ...] = ()
    owner: str = ""
    until_us: int = 0
    fed: int | None = None
    """The generation that the address books have been fed with; None: there are none to feed."""


class Record(NamedTuple):
    """A line as it is found. ``record`` is the source's encoding of a fiche."""

    id: int
    digest: int
    address: str
    record: bytes


class Busy(StoreError):
    """Another process is reading a source."""


_FOUND = (fiche.c.id, fiche.c.digest, fiche.c.address, fiche.c.record)
_SEEN = (fiche.c.born <= bindparam("now"), or_(fiche.c.gone.is_(None), fiche.c.gone > bindparam("now")))
_BY_ADDRESS, _BY_HOLDER = (
    select(*_FOUND).where(column == bindparam("asked"), *_SEEN) for column in (fiche.c.address, fiche.c.holder)
)
_ANY_GONE = select(fiche.c.id).where(fiche.c.gone.is_not(None)).limit(1)
_MATCHING = {
    "sqlite": "SELECT f.id, f.digest, f.address, f.record FROM annuaire_words w JOIN annuaire_fiche f ON f.id = w.rowid"
    " WHERE annuaire_words MATCH :words AND f.born <= :now AND (f.gone IS NULL OR f.gone > :now) LIMIT :most",
    "postgresql": "SELECT f.id, f.digest, f.address, f.record FROM annuaire_words w JOIN annuaire_fiche f USING (id)"
    " WHERE w.words @@ CAST(:words AS tsquery) AND f.born <= :now AND (f.gone IS NULL OR f.gone > :now) LIMIT :most",
}
_CHANGES = text("SELECT total_changes()")
# Half a million of each: rows of values, straight to the driver, in half of the time.
_COLUMNS = "id, digest, origin, address, type, holder, record, born"
_ADD = {
    "sqlite": f"INSERT INTO annuaire_fiche ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "postgresql": f"INSERT INTO annuaire_fiche ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
}
_ADD_WORDS = {
    "sqlite": "INSERT INTO annuaire_words (rowid, words) VALUES (?, ?)",
    "postgresql": "INSERT INTO annuaire_words (id, words) VALUES (%s, array_to_tsvector(string_to_array(%s, ' ')))",
}
_DROP_WORDS = {
    "sqlite": "DELETE FROM annuaire_words WHERE rowid = :line",
    "postgresql": "DELETE FROM annuaire_words WHERE id = :line",
}
_ADD_MOT = {
    "sqlite": "INSERT OR IGNORE INTO annuaire_mot (mot, inverse) VALUES (?, ?)",
    "postgresql": "INSERT INTO annuaire_mot (mot, inverse) VALUES (%s, %s) ON CONFLICT DO NOTHING",
}


# What is served


def copy(conn: Connection) -> Copy:
    """The state of the copy."""
    value = conn.execute(select(meta.c.value).where(meta.c.name == _STATE)).scalar_one_or_none()
    return msgspec.msgpack.decode(value, type=Copy) if value is not None else Copy()


def by_address(conn: Connection, address: str) -> list[Record]:
    """The lines of one bal."""
    return _records(conn.execute(_BY_ADDRESS, {"asked": address, "now": copy(conn).generation}))


def by_holder(conn: Connection, holder: str) -> list[Record]:
    """The lines of one person, by the national identifier."""
    return _records(conn.execute(_BY_HOLDER, {"asked": holder, "now": copy(conn).generation}))


def matching(conn: Connection, groups: Sequence[Sequence[str]], most: int) -> list[Record]:
    """At most ``most`` lines that have a word of each group; a word that ends in ``*`` stands for all it begins.
    Words are letters and digits, folded."""
    if not all(groups):
        return []
    if conn.dialect.name == "sqlite":
        said = " AND ".join(f"({' OR '.join(_fts_word(word) for word in group)})" for group in groups)
    else:
        said = " & ".join(f"({' | '.join(_tsquery_word(word) for word in group)})" for group in groups)
    values = {"words": said, "now": copy(conn).generation, "most": most}
    return _records(conn.execute(text(_MATCHING[conn.dialect.name]), values))


def completions(conn: Connection, beginning: str, most: int) -> list[str]:
    """At most ``most`` words of the copy that begin so, this one included."""
    query = select(mot.c.mot).where(mot.c.mot >= beginning, mot.c.mot < following(beginning)).limit(most)
    return list(conn.execute(query).scalars())


def lookalikes(conn: Connection, word: str, most: int) -> list[str]:
    """Words of about this length that share its first or its second half, and the one with the two letters in the
    middle changed: all with one slip in them are among these."""
    half = len(word) // 2
    first, last = word[:half], word[half:][::-1]
    length = func.length(mot.c.mot).between(len(word) - 1, len(word) + 1)
    changed = word[: half - 1] + word[half] + word[half - 1] + word[half + 1 :]
    found: dict[str, None] = {}
    for wanted in (
        (mot.c.mot == changed,),
        (mot.c.mot >= first, mot.c.mot < following(first), length),
        (mot.c.inverse >= last, mot.c.inverse < following(last), length),
    ):
        found |= dict.fromkeys(conn.execute(select(mot.c.mot).where(*wanted).limit(most)).scalars())
    return list(found)


def following(beginning: str) -> str:
    """The first text that sorts after all that begin so (words are compared by code point)."""
    return beginning[:-1] + chr(ord(beginning[-1]) + 1)


def _records(rows: Iterable[Any]) -> list[Record]:
    return [Record(*row) for row in rows]


def _fts_word(word: str) -> str:
    return f'"{word.removesuffix("*")}"{"*" if word.endswith("*") else ""}'


def _tsquery_word(word: str) -> str:
    return f"'{word.removesuffix('*')}'{':*' if word.endswith('*') else ''}"


# The next generation


def begin(tx: Tx, owner: str) -> Copy:
    """Takes the lease; `tidy` comes next. Raises Busy."""
    state = copy(tx.conn)
    if state.owner not in ("", owner) and state.until_us > tx.now_us:
        raise Busy("another process is reading the annuaire: wait for its end, see mssante annuaire status")
    return _keep(tx, state, owner=owner, until_us=tx.now_us + LEASE_US, tried_us=tx.now_us)


def tidy(tx: Tx, owner: str, *, staged: bool = False) -> int:
    """One step towards a copy without leftovers, to be repeated while it is not 0 (lines touched). What an earlier
    attempt has marked is served on; lines that nobody will see any more are erased, but those that the address books
    have still to lose; what an earlier attempt has added waits to be known again, or is erased too (``staged``)."""
    state = _holding(tx, owner)
    marked = select(fiche.c.id).where(fiche.c.gone > state.generation).limit(SWEPT)
    if count := tx.conn.execute(update(fiche).where(fiche.c.id.in_(marked)).values(gone=None)).rowcount:
        return int(count)
    seen_by_all = state.generation if state.fed is None else min(state.generation, state.fed)
    old = fiche.c.gone <= seen_by_all
    query = select(fiche.c.id).where(or_(old, fiche.c.born > state.generation) if staged else old).limit(SWEPT)
    if ids := [{"line": id_} for id_ in tx.conn.execute(query).scalars()]:
        tx.conn.execute(text(_DROP_WORDS[tx.conn.dialect.name]), ids)
        tx.conn.execute(delete(fiche).where(fiche.c.id == bindparam("line")), ids)
    return len(ids)


def known(conn: Connection) -> bytes:
    """The digests of all lines that are served or wait to be, sorted, as 64-bit integers of this machine."""
    query = select(fiche.c.digest).where(fiche.c.gone.is_(None)).order_by(fiche.c.digest)
    return array("q", conn.execute(query).scalars()).tobytes()


def stage(tx: Tx, owner: str, lines: Sequence[Line], replaced: Sequence[str], words: Iterable[str]) -> None:
    """Writes lines of the next generation, and marks what else comes from the origins ``replaced``; ``words``: those
    of the lines that the copy may not know yet. Raises Busy when the lease was lost."""
    state = _holding(tx, owner)
    now, next_ = state.generation, state.generation + 1
    digests = [line.digest for line in lines]
    others = fiche.c.origin.in_(replaced), fiche.c.digest.not_in(digests), fiche.c.gone.is_(None)
    if replaced:
        tx.conn.execute(update(fiche).where(*others).values(gone=next_))
    there: dict[int, int | None] = {}
    if replaced or tx.conn.execute(_ANY_GONE).first():  # what is read whole is sent when it is not there, or gone
        query = select(fiche.c.digest, fiche.c.gone).where(fiche.c.digest.in_(digests))
        there = {row.digest: row.gone for row in tx.conn.execute(query)}
    for back, values in (
        ([one for one, gone in there.items() if gone == next_], {"gone": None}),
        ([one for one, gone in there.items() if gone is not None and gone <= now], {"gone": None, "born": next_}),
    ):
        if back:
            tx.conn.execute(update(fiche).where(fiche.c.digest.in_(back)).values(values))
    if new := [line for line in lines if line.digest not in there]:
        _add(tx.conn, new, next_)
    if told := [(word, word[::-1]) for word in words]:
        tx.conn.exec_driver_sql(_ADD_MOT[tx.conn.dialect.name], told)
    _keep(tx, state, until_us=tx.now_us + LEASE_US)


def _add(conn: Connection, new: Sequence[Line], born: int) -> None:
    first = (conn.execute(select(func.max(fiche.c.id))).scalar() or 0) + 1
    rows = [(id_, *line[:-1], born) for id_, line in enumerate(new, first)]
    conn.exec_driver_sql(_ADD[conn.dialect.name], rows)
    conn.exec_driver_sql(_ADD_WORDS[conn.dialect.name], [(id_, line.words) for id_, line in enumerate(new, first)])


def gather_words(tx: Tx, owner: str, begun: bool) -> bool:
    """One step towards one list of lines for each word, where SQLite has as many as there were batches: half of the
    time of a search. Whether there is more to do; ``begun``: it is not the first step."""
    _keep(tx, _holding(tx, owner), until_us=tx.now_us + LEASE_US)
    if tx.conn.dialect.name != "sqlite":
        return False
    pages = GATHERED if begun else -GATHERED  # https://sqlite.org/fts5.html#the_merge_command
    before = tx.conn.execute(_CHANGES).scalar_one()
    tx.conn.execute(
        text("INSERT INTO annuaire_words (annuaire_words, rank) VALUES ('merge', :pages)"), {"pages": pages}
    )
    return bool(tx.conn.execute(_CHANGES).scalar_one() - before >= 2)


def mark(tx: Tx, owner: str, digests: Sequence[int]) -> None:
    """The lines of these digests end with the next generation; of those never served nothing is seen."""
    state = _holding(tx, owner)
    tx.conn.execute(update(fiche).where(fiche.c.digest.in_(digests)).values(gone=state.generation + 1))
    _keep(tx, state, until_us=tx.now_us + LEASE_US)


def vanishing(conn: Connection) -> int:
    """Addresses that are served and would not be after a `flip`."""
    next_ = copy(conn).generation + 1
    other = fiche.alias()
    stays = select(other.c.id).where(other.c.address == fiche.c.address, other.c.gone.is_(None)).exists()
    query = select(func.count(func.distinct(fiche.c.address))).where(
        fiche.c.gone == next_, fiche.c.born < next_, ~stays
    )
    return int(conn.execute(query).scalar_one())


class Counts(NamedTuple):
    """What the next generation holds, and what of it cannot all be true."""

    fiches: int
    addresses: int
    holders: int
    added: int
    removed: int
    contradictions: list[str]


def counted(conn: Connection, most: int = 20) -> Counts:
    """The figures of the next generation. Contradictions: addresses of two types, or PER of two holders."""
    next_ = copy(conn).generation + 1
    there = fiche.c.gone.is_(None)
    distinct = func.count(func.distinct(fiche.c.address)), func.count(func.distinct(func.nullif(fiche.c.holder, "")))
    total, addresses, holders = conn.execute(select(func.count(), *distinct).where(there)).one()
    added = conn.execute(select(func.count()).where(there, fiche.c.born == next_)).scalar_one()
    removed = conn.execute(select(func.count()).where(fiche.c.gone == next_, fiche.c.born < next_)).scalar_one()
    two_types = func.min(fiche.c.type) != func.max(fiche.c.type)
    # An ADELI beside an RPPS is the same person on the way from the one to the other.
    rpps = func.substr(fiche.c.holder, 1, 1) == "8"
    two_people = func.min(fiche.c.holder) != func.max(fiche.c.holder)
    query = (
        select(fiche.c.address)
        .where(there, or_(fiche.c.type != "PER", rpps))
        .group_by(fiche.c.address)
        .having(or_(two_types, (func.min(fiche.c.type) == "PER") & two_people))
        .limit(most)
    )
    return Counts(total, addresses, holders, added, removed, list(conn.execute(query).scalars()))


def flip(tx: Tx, owner: str, *, whole: bool, source: str, cursor: str, counts: Counts | None, **news: Any) -> Copy:
    """What was written is served from now on. ``counts`` None: nothing has changed. ``news``: of `Copy`."""
    state = _holding(tx, owner)
    figures: dict[str, Any] = {}
    if counts is not None:
        figures = {
            "generation": state.generation + 1,
            "fiches": counts.fiches,
            "addresses": counts.addresses,
            "holders": counts.holders,
            "added": counts.added,
            "removed": counts.removed,
            "changed_us": tx.now_us if counts.added or counts.removed else state.changed_us,
        }
    if whole:
        figures["complete_us"] = tx.now_us
    tx.hint("annuaire")
    return _keep(tx, state, source=source, cursor=cursor, checked_us=tx.now_us, problem="", **figures, **news)


def release(tx: Tx, owner: str, problem: str | None = None) -> None:
    """The lease ends; ``problem``: why the attempt came to nothing. What is served stays."""
    state = copy(tx.conn)
    if state.owner == owner:
        _keep(tx, state, owner="", until_us=0, problem=state.problem if problem is None else problem)


# What address books are fed with


def news(conn: Connection, after: Record | None, most: int) -> tuple[list[Record], list[int]]:
    """(some lines that the address books do not have yet, in the order of their ids from ``after`` on; digests of all
    that they have to lose)."""
    state = copy(conn)
    fed = state.fed or 0
    query = (
        select(*_FOUND)
        .where(fiche.c.id > (after.id if after else 0), fiche.c.born > fed, *_SEEN)
        .order_by(fiche.c.id)
        .limit(most)
    )
    # Also what came and went since: a feed that broke off may have told of it.
    lost = select(fiche.c.digest).where(fiche.c.gone > fed, fiche.c.gone <= state.generation)
    return _records(conn.execute(query, {"now": state.generation})), list(conn.execute(lost).scalars())


def fed(tx: Tx, generation: int | None) -> None:
    """The address books hold this generation; None: there are none any more."""
    _keep(tx, copy(tx.conn), fed=generation)


def _holding(tx: Tx, owner: str) -> Copy:
    state = copy(tx.conn)
    if state.owner != owner:
        raise Busy("another process has begun to read the annuaire: this reading ends")
    return state


def _keep(tx: Tx, state: Copy, **changes: Any) -> Copy:
    state = msgspec.structs.replace(state, **changes)
    put(tx.conn, meta, {"name": _STATE, "value": msgspec.msgpack.encode(state)})
    return state
