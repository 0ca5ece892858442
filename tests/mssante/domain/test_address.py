"""Addresses: what is one, what is none, and that nothing but AddressError ever comes out."""

import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mssante.domain.address import MAX_ADDRESS, Address, AddressError, parse_address

ATEXT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+/=?^_`{|}~-"
LDH = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

ACCEPTED = [
    # written, canonical
    ("jeanne.exemple@medecin.example.mssante.fr", "jeanne.exemple@medecin.example.mssante.fr"),
    ("Jeanne.EXEMPLE@Medecin.Example.MSSante.FR", "jeanne.exemple@medecin.example.mssante.fr"),
    ("279035121518989@patient.mssante.fr", "279035121518989@patient.mssante.fr"),
    ("284052A32102552@patient.mssante.fr", "284052a32102552@patient.mssante.fr"),
    ("a@b", "a@b"),
    ("o'brien+tri=1@x.fr", "o'brien+tri=1@x.fr"),
    ('"jeanne exemple"@x.fr', '"jeanne exemple"@x.fr'),
    ('"a@b"@x.fr', '"a@b"@x.fr'),
    ('"a\\"b\\\\c"@x.fr', '"a\\"b\\\\c"@x.fr'),
    ('""@x.fr', '""@x.fr'),
    # quotes that quote nothing are not part of the name, RFC 5321 §4.1.2
    ('"jeanne.exemple"@x.fr', "jeanne.exemple@x.fr"),
    ('"\\j\\e"@x.fr', "je@x.fr"),
    # RFC 6531; one spelling for composed and decomposed accents
    ("hélène@x.fr", "hélène@x.fr"),
    ("HÉLÈNE@x.fr", "hélène@x.fr"),
    ("he\u0301lène@x.fr", "hélène@x.fr"),
    ("a@santé.fr", "a@xn--sant-epa.fr"),
    ("a@SANTÉ.fr", "a@xn--sant-epa.fr"),
    ("a@xn--sant-epa.fr", "a@xn--sant-epa.fr"),
    ("l" * 64 + "@x.fr", "l" * 64 + "@x.fr"),
]

REFUSED = [
    "",
    "@",
    "jeanne",
    "@x.fr",
    "jeanne@",
    "<jeanne@x.fr>",
    "jeanne@x.fr>",
    "jeanne@x.fr ",
    " jeanne@x.fr",
    "jeanne@@x.fr",
    "a b@x.fr",
    ".a@x.fr",
    "a.@x.fr",
    "a..b@x.fr",
    "a(comment)@x.fr",
    "a@x.fr(comment)",
    "a,b@x.fr",
    "@y.fr:a@x.fr",  # a source route
    "a@[127.0.0.1]",  # an address literal
    "a@.x.fr",
    "a@x..fr",
    "a@x.fr.",
    "a@-x.fr",
    "a@x-.fr",
    "a@x_y.fr",
    "a@x/../y",
    '"a@x.fr',
    'a"@x.fr',
    '"a"b"@x.fr',
    '"a\\"@x.fr',
    '"a"."b"@x.fr',  # obsolete, RFC 5322 §4.4
    "a\r\nRCPT TO:<b@x.fr>@x.fr",
    "a\x00@x.fr",
    '"a\x00"@x.fr',
    '"a\\\x00"@x.fr',
    '"a\nb"@x.fr',
    "a\x7f@x.fr",
    "a\x85@x.fr",
    "a\u202e@x.fr",  # would be shown right to left
    "a\u200b@x.fr",
    "a\u00a0b@x.fr",
    "\ud800@x.fr",
    "a@x\ud800.fr",
    "a@ｍssante.fr",  # full width: another spelling of a listed domain
    "a@x。fr",
    "a@straße.fr",
    "a@" + "l" * 64 + ".fr",
    "l" * 65 + "@x.fr",
    "é" * 33 + "@x.fr",
    "l@" + ".".join(["d" * 60] * 5),
]


@pytest.mark.parametrize(("written", "canonical"), ACCEPTED)
def test_accepts(written: str, canonical: str) -> None:
    assert str(parse_address(written)) == canonical


@pytest.mark.parametrize("text", REFUSED)
def test_refuses_with_a_public_reason(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_halves_are_apart() -> None:
    assert parse_address('"A@b"@X.fr') == Address('"a@b"', "x.fr")


dot_strings = st.lists(st.text(ATEXT, min_size=1, max_size=8), min_size=1, max_size=6).map(".".join)
quoted_strings = st.text(st.sampled_from(ATEXT + ' "\\@<>,.:;()[]é'), max_size=14).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
domains = st.lists(st.text(LDH, min_size=1, max_size=12), min_size=1, max_size=5).map(".".join)


@given(local=dot_strings | quoted_strings, domain=domains)
def test_writing_and_reading_again_is_the_identity(local: str, domain: str) -> None:
    address = parse_address(f"{local}@{domain}")
    assert parse_address(str(address)) == address


@given(local=dot_strings, domain=domains)
def test_case_makes_no_other_mailbox(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    assert parse_address(text.upper()) == parse_address(text.lower()) == parse_address(text)


@given(local=dot_strings, domain=domains)
def test_quotes_make_no_other_mailbox(local: str, domain: str) -> None:
    assert parse_address(f'"{local}"@{domain}') == parse_address(f"{local}@{domain}")


# Any code point, surrogates too: bytes from the wire may have been decoded with surrogateescape.
anything = st.text(st.characters(), max_size=300)


@given(st.one_of(anything, st.builds("{}@{}".format, anything, anything | domains)))
@example("a@\U0010ffff.fr")
@example("\u0130@x.fr")
@example("a@xn--a.fr")
@example("a@" + "é" * 200)
@example("@" * 300)
def test_arbitrary_text_gives_a_canonical_address_or_address_error(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    written = str(address)
    assert parse_address(written) == address
    assert len(written.encode()) <= MAX_ADDRESS
    assert len(address.local.encode()) <= 64
    assert address.domain.isascii()
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in written)


@given(
    control=st.sampled_from([chr(code) for code in [*range(32), *range(127, 160)]]),
    local=dot_strings | quoted_strings,
    domain=domains,
    place=st.integers(min_value=0, max_value=60),
)
def test_a_control_character_anywhere_is_refused(control: str, local: str, domain: str, place: int) -> None:
    text = f"{local}@{domain}"
    with pytest.raises(AddressError):
        parse_address(text[:place] + control + text[place:])


def test_every_character_alone_is_stable_or_refused() -> None:
    unstable = []
    for code in range(sys.maxunicode + 1):
        try:
            address = parse_address.__wrapped__(f"{chr(code)}x@x.fr")
        except AddressError:
            continue
        if parse_address.__wrapped__(str(address)) != address:
            unstable.append(hex(code))
    assert unstable == []
