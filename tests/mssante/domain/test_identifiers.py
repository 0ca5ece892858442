"""RPPS, ADELI, FINESS, SIRET: raw and national forms, keys computed by formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.identifiers import (
    Adeli,
    Finess,
    IdentifierError,
    Rpps,
    Siret,
    luhn_holds,
    parse_professional,
)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


def with_luhn(body: str) -> str:
    return next(body + key for key in "0123456789" if luhn_holds(body + key))


def test_luhn_against_a_published_number() -> None:
    assert luhn_holds("79927398713")
    assert not luhn_holds("79927398710")


@given(digits(10))
def test_rpps_from_both_forms(body: str) -> None:
    rpps = Rpps(with_luhn(body))
    assert rpps.national == "8" + rpps.number
    assert Rpps.parse(rpps.number) == Rpps.parse(rpps.national) == rpps


@given(digits(8))
def test_finess_from_both_forms(body: str) -> None:
    finess = Finess(with_luhn(body))
    assert finess.national == "1" + finess.number
    assert Finess.parse(finess.number) == Finess.parse(finess.national) == finess


@given(digits(13))
def test_siret_from_both_forms(body: str) -> None:
    siret = Siret(with_luhn(body))
    assert siret.national == "3" + siret.number
    assert Siret.parse(siret.number) == Siret.parse(siret.national) == siret


@given(digits(9))
def test_adeli_from_both_forms_without_a_key(number: str) -> None:
    adeli = Adeli(number)
    assert adeli.national == "0" + number
    assert adeli.key_holds
    assert Adeli.parse(number) == Adeli.parse(adeli.national) == adeli


@given(body=digits(10), key=st.sampled_from("0123456789"))
def test_a_wrong_key_is_refused_from_a_user_and_kept_from_the_annuaire(body: str, key: str) -> None:
    number = body + key
    kept = Rpps.parse(number, checked=False)
    assert kept.number == number
    if kept.key_holds:
        assert Rpps.parse(number) == kept
    else:
        with pytest.raises(IdentifierError, match="wrong key of the RPPS"):
            Rpps.parse(number)


def test_corsican_finess_and_adeli_have_no_key_to_check() -> None:
    assert Finess.parse("2a0000014") == Finess("2A0000014")
    assert Finess.parse("12A0000014").national == "12A0000014"
    assert Adeli.parse("2b1234567") == Adeli("2B1234567")


def test_la_poste_has_its_own_siret_key() -> None:
    headquarters = "35600000000048"  # published; Luhn holds
    office = "35600000049837"  # sum of digits 45; Luhn does not hold
    assert luhn_holds(headquarters)
    assert not luhn_holds(office)
    assert Siret.parse(headquarters).key_holds
    assert Siret.parse(office).key_holds
    with pytest.raises(IdentifierError):
        Siret.parse("35600000049838")


@pytest.mark.parametrize(
    "text", ["", "1", "1000000001", "100000000170", "8100000000170", "1000000001x", "８１００００００００１"]
)
def test_malformed_rpps(text: str) -> None:
    with pytest.raises(IdentifierError, match="malformed RPPS"):
        Rpps.parse(text)


def test_kinds_do_not_mix() -> None:
    assert Finess("750000002") != Adeli("750000002")


@given(st.text(st.characters(), max_size=20))
def test_arbitrary_text_raises_nothing_else(text: str) -> None:
    for parse in (Rpps.parse, Adeli.parse, Finess.parse, Siret.parse):
        try:
            parse(text)
        except IdentifierError:
            continue


@pytest.mark.parametrize(
    ("national", "who"),
    [
        ("880000000010", Rpps("80000000010")),
        ("810003456789", Rpps("10003456789")),  # official data keeps a wrong key
        ("02a1234567", Adeli("2A1234567")),
        ("0101234567", Adeli("101234567")),
    ],
)
def test_a_professional_by_his_national_identifier(national: str, who: Rpps | Adeli) -> None:
    assert parse_professional(national) == who


@pytest.mark.parametrize("national", ["", "8", "80000000010", "8800000000101", "1012345678", "ANS2026", "8" + "٣" * 11])
def test_what_is_no_professional(national: str) -> None:
    with pytest.raises(IdentifierError):
        parse_professional(national)
