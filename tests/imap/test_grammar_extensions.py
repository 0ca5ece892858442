"""The syntax of the extensions: what is spelt is read as it was meant, and what is not theirs is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap import search_keys as key
from imap.fetch_items import MODSEQ, Item, Kind, Section, read_items
from imap.framer import Command
from imap.lexer import SAVED, STAR, Ranges, Refused, SyntaxFault
from imap.values import (
    Appended,
    AppendHead,
    Fetch,
    FlagSet,
    Quota,
    Resync,
    Search,
    Select,
    Sort,
    Status,
    StatusItem,
    Store,
    Thread,
    Value,
)
from tests.imap.reading import read

_number = st.integers(1, 2**32 - 1)
_modseq = st.integers(1, 2**63 - 1)
_known = st.lists(st.tuples(_number, _number), min_size=1, max_size=4).map(tuple)
_ranges = st.one_of(
    st.lists(st.tuples(_number | st.just(STAR), _number | st.just(STAR)), min_size=1, max_size=4).map(tuple),
    st.just(SAVED),
)
_window = st.tuples(st.sampled_from([1, -1]), _number, _number).map(
    lambda made: (made[0] * min(made[1:]), made[0] * max(made[1:]))
)


def spell_set(ranges: Ranges) -> str:
    if ranges == SAVED:
        return "$"
    return ",".join(f"{first or '*'}:{last or '*'}" for first, last in ranges)


def spell_window(window: tuple[int, int]) -> str:
    return f"PARTIAL {window[0]}:{window[1]}"


@given(
    st.sampled_from(["SELECT", "EXAMINE"]), st.booleans(), st.none() | st.tuples(_number, _modseq, st.none() | _known)
)
def test_select(name: str, condstore: bool, resync: tuple[int, int, Ranges | None] | None) -> None:
    """RFC 7162 §7"""
    parameters = ["CONDSTORE"] if condstore else []
    if resync is not None:
        known = "" if resync[2] is None else f" {spell_set(resync[2])}"
        parameters.append(f"QRESYNC ({resync[0]} {resync[1]}{known} (1,3 5,9))")
    text = f"t {name} box" + (f" ({' '.join(parameters)})" if parameters else "")
    meant = Select("box", name == "EXAMINE", condstore, None if resync is None else Resync(*resync))
    assert read(Command((text.encode(),))).value == meant


@given(_ranges, _modseq, st.none() | _window, st.booleans())
def test_fetch(ranges: Ranges, modseq: int, window: tuple[int, int] | None, vanished: bool) -> None:
    """RFC 7162 §7, RFC 9394 §4"""
    modifiers = [f"CHANGEDSINCE {modseq}"] + ["VANISHED"] * vanished + ([spell_window(window)] if window else [])
    text = f"t UID FETCH {spell_set(ranges)} (MODSEQ BODY.PEEK[HEADER.FIELDS (A)]) ({' '.join(modifiers)})"
    value = read(Command((text.encode(),))).value
    assert isinstance(value, Fetch)
    assert (value.ranges, value.changed_since, value.vanished, value.partial) == (ranges, modseq, vanished, window)
    assert value.items == read_items(b"(MODSEQ BODY.PEEK[HEADER.FIELDS (A)])") and value.items[0] == MODSEQ


@given(_ranges, st.sampled_from("+-="), st.booleans(), st.none() | st.integers(0, 2**63 - 1))
def test_store(ranges: Ranges, operation: str, silent: bool, since: int | None) -> None:
    modifier = "" if since is None else f"(UNCHANGEDSINCE {since}) "
    item = operation.strip("=") + "FLAGS" + ".SILENT" * silent
    text = f"t STORE {spell_set(ranges)} {modifier}{item} (a)"
    assert read(Command((text.encode(),))).value == Store(ranges, operation, silent, FlagSet(0, ("a",)), False, since)


@given(
    _ranges,
    st.none() | st.frozensets(st.sampled_from(["MIN", "MAX", "COUNT", "SAVE", "ALL"]), min_size=1),
    st.none() | _window,
    st.booleans(),
    _modseq,
    _number,
)
def test_search(
    ranges: Ranges,
    returns: frozenset[str] | None,
    window: tuple[int, int] | None,
    charset: bool,
    modseq: int,
    seconds: int,
) -> None:
    if returns is None or "ALL" in returns:
        window = None
    options = sorted(returns or ()) + ([spell_window(window)] if window else [])
    text = "t UID SEARCH " + ("" if returns is None else f"RETURN ({' '.join(options)}) ")
    text += "CHARSET UTF-8 " * charset + f"MODSEQ {modseq} OLDER {seconds} {spell_set(ranges)} UID {spell_set(ranges)}"
    keys = (
        key.ModSeq(modseq),
        key.Within(seconds, True),
        key.Numbers(ranges, False),
        key.Numbers(ranges, True),
    )
    chosen = returns | {"PARTIAL"} if returns is not None and window else returns
    assert read(Command((text.encode(),))).value == Search(key.And(keys), True, chosen, window, charset)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SEARCH RETURN () ALL", Search(key.All(), False, frozenset({"ALL"}))),
        ('SEARCH MODSEQ "/flags/\\\\seen" priv 5', Search(key.ModSeq(5), False)),
        ("SEARCH EMAILID M12 YOUNGER 5", Search(key.And((key.ObjectId("M12"), key.Within(5, False))), False)),
        ("UID SORT (REVERSE DATE TO) UTF-8 ALL", Sort((("DATE", True), ("TO", False)), key.All(), True)),
        ("THREAD references us-ascii 1", Thread("REFERENCES", key.Numbers(((1, 1),), False), False)),
        ('GETQUOTA ""', Quota("")),
        ("STATUS x (DELETED-STORAGE mailboxid)", Status("x", (StatusItem.DELETED_STORAGE, StatusItem.MAILBOXID))),
        ("APPEND x UTF8 (~", AppendHead("x", Appended(utf8=True, binary=True))),
        ("APPEND x (\\Seen) ~", AppendHead("x", Appended(FlagSet(1), binary=True))),
        ("UID REPLACE 7 x ", AppendHead("x", Appended(), ((7, 7),), True)),
        ("SELECT x (QRESYNC (1 2 (3 4)))", Select("x", False, False, Resync(1, 2))),
    ],
)
def test_read(text: str, value: Value) -> None:
    assert read(Command((b"t " + text.encode(),))).value == value


@pytest.mark.parametrize(
    "text",
    [
        "SELECT x ()",
        "SELECT x (QRESYNC)",
        "SELECT x (QRESYNC (0 1))",
        "SELECT x (QRESYNC (1 1 1:*))",
        "SELECT x (QRESYNC (1 1 $))",
        "SELECT x (CONDSTORE CONDSTORE)",
        "FETCH 1 FLAGS (CHANGEDSINCE)",
        "FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)",
        "FETCH 1 FLAGS (PARTIAL 1:2)",
        "FETCH 1 FLAGS (NONSENSE 1)",
        "FETCH 1 FLAGS ()",
        "UID FETCH 1 FLAGS (VANISHED)",
        "FETCH $,1 FLAGS",
        "FETCH $:3 FLAGS",
        "FETCH 1 BINARY.SIZE[1]<0.1>",
        "FETCH 1 BINARY[1.MIME]",
        "FETCH 1 BINARY.PEEK[0]",
        "FETCH 1 (PREVIEW (EAGER))",
        "STORE 1 (UNCHANGEDSINCE -1) FLAGS ()",
        "STORE 1 () FLAGS ()",
        "SEARCH RETURN (ALL ALL",
        "SEARCH RETURN (NONSENSE) ALL",
        "SEARCH RETURN ALL",
        "SEARCH RETURN (PARTIAL 0:1) ALL",
        "SEARCH RETURN (PARTIAL 1:-1) ALL",
        "SEARCH YOUNGER x",
        'SEARCH MODSEQ "/flags/x" mine 1',
        "SORT (DATE) ALL",
        "THREAD REFERENCES",
        "REPLACE 1:2 x ",
        "REPLACE $ x ",
        "APPEND x UTF8 (",
        "APPEND x NONSENSE ",
        "GETQUOTA",
    ],
)
def test_refuse(text: str) -> None:
    with pytest.raises((SyntaxFault, Refused)):
        read(Command((b"t " + text.encode(),)))


def test_binary_items_carry_the_label_of_their_answer() -> None:
    assert read_items(b"(BINARY[1.2]<3.4> BINARY.PEEK[] binary.size[2] PREVIEW (LAZY))") == (
        Item(Kind.BINARY, b"BINARY[1.2]<3>", Section((1, 2)), (3, 4), True),
        Item(Kind.BINARY, b"BINARY[]", Section()),
        Item(Kind.BINARY_SIZE, b"BINARY.SIZE[2]", Section((2,))),
        Item(Kind.PREVIEW, b"PREVIEW", lazy=True),
    )
