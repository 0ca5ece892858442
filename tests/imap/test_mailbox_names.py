"""Mailbox names on the wire, names that may be created, patterns of LIST."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap import responses
from imap.framer import Command
from imap.lexer import Lexer
from imap.mailbox_names import NameFault, Pattern, canonical, check_new, decode, encode, superiors

KNOWN = [
    ("INBOX", b"INBOX"),
    ("Envoyés", b"Envoy&AOk-s"),
    ("Éléments envoyés", b"&AMk-l&AOk-ments envoy&AOk-s"),
    ("日本語", b"&ZeVnLIqe-"),
    ("a&b", b"a&-b"),
    ("😀", b"&2D3eAA-"),
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
]
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(("name", "wire"), KNOWN)
def test_known_names(name: str, wire: bytes) -> None:
    assert encode(name) == wire
    assert decode(wire) == name


@given(_texts)
def test_decode_is_the_inverse_of_encode(name: str) -> None:
    wire = encode(name)
    assert decode(wire) == name
    assert all(32 <= octet < 127 for octet in wire)


@given(_texts.filter(lambda name: "\0" not in name))
def test_an_answered_name_is_read_back_as_the_same(name: str) -> None:
    assert Lexer(Command((responses.mailbox(name),))).mailbox() == canonical(name)


@pytest.mark.parametrize(
    "wire", [b"&", b"a&Jjo", b"&Jjo!", b"&AGE-", b"\xc3\xa9", b"&U,BTFw-&ZeVnLIqe-", b"&2D0-", b"&AOk=-", b"&,-"]
)
def test_one_name_has_one_spelling(wire: bytes) -> None:
    with pytest.raises(NameFault):
        decode(wire)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "..",
        "a/../b",
        "./a",
        "a\r\nb",
        "a\0b",
        "a*",
        "a%b",
        " a",
        "a /b",
        "x" * 256,
        "a/" * 16 + "a",
    ],
)
def test_names_that_may_not_be_created(name: str) -> None:
    with pytest.raises(NameFault):
        check_new(name)


def test_names_that_may() -> None:
    assert check_new("Dossier/É") == "Dossier/É"
    assert check_new("E\N{COMBINING ACUTE ACCENT}") == "É"
    assert check_new("inBox") == "INBOX"
    assert check_new("inbox/a") == "INBOX/a"
    assert check_new("Inboxes") == "Inboxes"


_small = st.text("abI/N*%", max_size=8)


@given(_small, st.text("abIN/", max_size=8))
def test_patterns_match_as_the_grammar_says(pattern: str, name: str) -> None:
    source = "".join({"*": ".*", "%": "[^/]*"}.get(letter) or re.escape(letter) for letter in pattern)
    assert Pattern("", pattern).matches(name) == (re.fullmatch(source, name) is not None)


@pytest.mark.parametrize("pattern", ["inbox", "InB%", "*", "%", "iN*X"])
def test_inbox_matches_in_any_case(pattern: str) -> None:
    assert Pattern("", pattern).matches("INBOX")


def test_a_hostile_pattern_costs_little() -> None:
    assert not Pattern("", "*a" * 500 + "b").matches("a" * 255)


def test_superiors() -> None:
    assert superiors("a/b/c") == ["a", "a/b"]
    assert superiors("a") == []
