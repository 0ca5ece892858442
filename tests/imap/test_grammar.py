"""The grammar: commands as values, and nothing but SyntaxFault or Refused for everything else."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap import search_keys as key
from imap.commands import COMMANDS
from imap.fetch_items import FLAGS, UID, Item, Kind, Section, Text, read_items
from imap.framer import Command
from imap.lexer import Refused, SyntaxFault
from imap.values import (
    Appended,
    AppendHead,
    Authenticate,
    Copy,
    Create,
    Expunge,
    Fetch,
    FlagSet,
    Id,
    List,
    Login,
    Plain,
    Rename,
    Search,
    Select,
    Status,
    StatusItem,
    Store,
    Value,
)
from mssante.domain import flags
from tests.imap.reading import read

READ = [
    ("NOOP", Plain()),
    ("noop", Plain()),
    ("ID NIL", Id()),
    ('ID ("name" "x" "version" NIL)', Id((("name", "x"), ("version", None)))),
    ('LOGIN a@b.c "p\\"w\\\\d"', Login("a@b.c", 'p"w\\d')),
    ('LOGIN "" "é"', Login("", "é")),
    ("AUTHENTICATE plain", Authenticate("PLAIN")),
    ("AUTHENTICATE PLAIN =", Authenticate("PLAIN", b"")),
    ("AUTHENTICATE PLAIN AGEAYg==", Authenticate("PLAIN", b"\0a\0b")),
    ("SELECT inBOX", Select("INBOX", False)),
    ('EXAMINE "a b"', Select("a b", True)),
    ("SELECT &AOk-t&AOk-", Select("été", False)),
    ("SELECT a&-b", Select("a&b", False)),
    ("CREATE x (USE (\\Sent \\Drafts))", Create("x", ("\\Sent", "\\Drafts"))),
    ("RENAME a b", Rename("a", "b")),
    ("STATUS x (MESSAGES unseen)", Status("x", (StatusItem.MESSAGES, StatusItem.UNSEEN))),
    ('LIST "" *', List("", ("*",))),
    ('LIST a/ "%b*"', List("a/", ("%b*",))),
    ('LSUB "" x', List("", ("x",), lsub=True)),
    (
        'LIST (SUBSCRIBED RECURSIVEMATCH) "" (a b) RETURN (CHILDREN STATUS (UIDNEXT))',
        List("", ("a", "b"), False, True, True, True, False, True, (StatusItem.UIDNEXT,)),
    ),
    ("APPEND x ", AppendHead("x")),
    (
        'APPEND x (\\Seen B a) " 1-Feb-2025 00:00:01 +0100" ',
        AppendHead("x", Appended(FlagSet(flags.SEEN, ("B", "a")), 1_738_364_401_000_000)),
    ),
    ("COPY 1:* x", Copy(((1, 0),), "x", False)),
    ("UID MOVE 5,7:9,*:3 x", Copy(((5, 5), (7, 9), (0, 3)), "x", True)),
    ("EXPUNGE", Expunge()),
    ("UID EXPUNGE 4", Expunge(((4, 4),))),
    ("STORE 1 flags.silent (\\deleted \\Recent)", Store(((1, 1),), "=", True, FlagSet(flags.DELETED), False)),
    ("UID STORE 1 -FLAGS $a $b", Store(((1, 1),), "-", False, FlagSet(0, ("$a", "$b")), True)),
    ("FETCH 1 (FLAGS uid FLAGS)", Fetch(((1, 1),), (FLAGS, UID), False)),
    ("SEARCH ALL", Search(key.All(), False)),
    ("UID SEARCH 1:3 UID 9", Search(key.And((key.Numbers(((1, 3),), False), key.Numbers(((9, 9),), True))), True)),
    ("SEARCH CHARSET utf-8 NOT (SEEN)", Search(key.Not(key.Flag(flags.SEEN)), False, charset=True)),
    (
        'SEARCH OR FROM a SINCE "1-Jan-2025"',
        Search(key.Or(key.Header("from", "a"), key.Day(key.When.SINCE, date(2025, 1, 1), False)), False),
    ),
    (
        "SEARCH SENTBEFORE 9-dec-2024 LARGER 10 UNKEYWORD k",
        Search(
            key.And((key.Day(key.When.BEFORE, date(2024, 12, 9), True), key.Size(10, True), key.Not(key.Keyword("k")))),
            False,
        ),
    ),
]


@pytest.mark.parametrize(("text", "value"), READ, ids=[text for text, _ in READ])
def test_read(text: str, value: Value) -> None:
    assert read(Command((b"t " + text.encode(),))).value == value


BAD = [
    "",
    "XYZZY",
    "LOGIN",
    "LOGIN a",
    "LOGIN a b c",
    "LOGIN a b{",
    'LOGIN "a b',
    "LOGIN a\\b c",
    "SELECT",
    "SELECT a b",
    "SELECT a%",
    "SELECT &Jjo",
    "SELECT &AGE-",
    'SELECT "é"',
    "STATUS x ()",
    "STATUS x (SIZES)",
    "STATUS x MESSAGES",
    "FETCH",
    "FETCH 0 FLAGS",
    "FETCH 1",
    "FETCH 1 ()",
    "FETCH 1 (FLAGS",
    "FETCH 1 BODY[",
    "FETCH 1 BODY[]<1>",
    "FETCH 1 BODY[]<1.0>",
    "FETCH 1 BODY[0]",
    "FETCH 1 BODY[1.]",
    "FETCH 1 BODY[1HEADER]",
    "FETCH 1 BODY[MIME]",
    "FETCH 1 BODY[HEADER.FIELDS]",
    "FETCH 1 BODY[HEADER.FIELDS ()]",
    "FETCH 1 BODY[HEADER.FIELDS (a:)]",
    "FETCH 1 BODY[" + "1." * 60 + "1]",
    "FETCH 4294967296 FLAGS",
    "FETCH 1,,2 FLAGS",
    "FETCH 1: FLAGS",
    "FETCH -1 FLAGS",
    "STORE 1 FLAGS",
    "STORE 1 *FLAGS (\\Seen)",
    "STORE 1 FLAGS (\\Nonsense)",
    "STORE 1 FLAGS (a]b%)",
    "SEARCH",
    "SEARCH FOO",
    "SEARCH OR SEEN",
    "SEARCH BEFORE 31-Feb-2025",
    "SEARCH BEFORE 1-Foo-2025",
    "SEARCH (",
    "SEARCH ()",
    "SEARCH LARGER x",
    "SEARCH " + "(" * 500 + "SEEN" + ")" * 500,
    "SEARCH " + "NOT " * 500 + "SEEN",
    "SEARCH UID x",
    'APPEND x "yesterday" ',
    'APPEND x " 1-Feb-2025 25:00:01 +0100" ',
    "LIST a",
    'LIST (FOO) "" *',
    'LIST (RECURSIVEMATCH) "" *',
    'LIST "" * RETURN (FOO)',
    'LIST "" ()',
    "ID (a)",
    'ID ("a")',
    'ID (NIL "x")',
    "ENABLE",
    "UID",
    "UID NOOP",
    "UID FETCH",
    "AUTHENTICATE PLAIN !",
    "CREATE x (USE)",
    "NOOP x",
    "CAPABILITY (",
    "LOGIN \x00 b",
]


@pytest.mark.parametrize("text", BAD)
def test_refuse(text: str) -> None:
    with pytest.raises(SyntaxFault):
        read(Command((b"t " + text.encode(),)))


def test_texts_in_literals() -> None:
    command = Command((b"t LOGIN ", b" ", b""), (b"alice", "sécr\r\net".encode()))
    assert read(command).value == Login("alice", "sécr\r\net")
    with pytest.raises(SyntaxFault, match="NUL"):
        read(Command((b"t LOGIN ", b" x"), (b"a\0b",)))
    with pytest.raises(SyntaxFault):
        read(Command((b"t LOGIN a b", b""), (b"late",)))


def test_a_charset_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(Refused) as refused:
        read(Command((b"t SEARCH CHARSET EBCDIC SUBJECT x",)))
    assert refused.value.code == "BADCHARSET (US-ASCII UTF-8)"


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("FAST", ("FLAGS", "INTERNALDATE", "RFC822.SIZE")),
        ("all", ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")),
        ("FULL", ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY")),
        ("BODY[]", ("BODY[]",)),
        ("(RFC822 RFC822.HEADER RFC822.TEXT)", ("RFC822", "RFC822.HEADER", "RFC822.TEXT")),
        ("body.peek[1.2.header]<5.6>", ("BODY[1.2.HEADER]<5>",)),
        ('(BODY[HEADER.FIELDS (subject "X-a")]<0.9> UID)', ("BODY[HEADER.FIELDS (SUBJECT X-A)]<0>", "UID")),
        ("BODY[3.HEADER.FIELDS.NOT (a)]", ("BODY[3.HEADER.FIELDS.NOT (A)]",)),
    ],
)
def test_fetch_items_carry_the_label_of_their_answer(text: str, items: tuple[str, ...]) -> None:
    assert tuple(item.label.decode() for item in read_items(text.encode())) == items


def test_peek_and_seen() -> None:
    assert read_items(b"BODY[TEXT]") == (Item(Kind.SECTION, b"BODY[TEXT]", Section((), Text.TEXT), None, True),)
    assert not read_items(b"BODY.PEEK[TEXT]")[0].seen
    assert not read_items(b"RFC822.HEADER")[0].seen


_words = st.sampled_from(
    [
        *COMMANDS,
        "(",
        ")",
        " ",
        " ",
        " ",
        "\\Seen",
        '"',
        "1:*",
        "BODY[",
        "]",
        "<0.1>",
        "NOT",
        "OR",
        "UID",
        "INBOX",
        "~",
        "&",
        "{",
        "}",
        "*",
        "NIL",
    ]
)


@given(st.lists(_words | st.text(max_size=4), max_size=20), st.lists(st.binary(max_size=5), max_size=2))
def test_any_text_is_a_value_or_a_fault(words: list[str], literals: list[bytes]) -> None:
    text = b"t " + "".join(words).encode("utf-8", "surrogatepass")
    texts = (text, *(b"" for _ in literals))
    try:
        assert read(Command(texts, tuple(literals))).tag == b"t"
    except (SyntaxFault, Refused):
        return
