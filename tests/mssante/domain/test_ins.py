"""The INS: published key vectors (facts 5), Corsica, one wrong character, secrecy."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mssante.domain.ins import Ins, InsError, ins_key, ins_of_local, parse_ins

VECTORS = [
    ("2550814168025", 38),
    ("2940375120005", 91),
    ("1531245007231", 60),
    ("284052A321025", 52),
    ("1234567890123", 11),
    ("2790351215189", 89),
]

# Seen in the samples of others, with keys that do not hold.
WRONG_KEYS = ["288091234567823", "253097812634581", "147037433100207", "147093418000253", "246098745000312"]

MAINLAND = st.integers(0, 99).map("{:02}".format)
CORSICA = st.sampled_from(["2A", "2B"])


@st.composite
def bodies(draw: st.DrawFn, departements: st.SearchStrategy[str] = MAINLAND | CORSICA) -> str:
    """The 13 characters of a well-formed matricule."""
    return "".join(
        (
            draw(st.sampled_from("123478")),
            f"{draw(st.integers(0, 99)):02}",
            f"{draw(st.integers(1, 12) | st.integers(20, 99)):02}",
            draw(departements),
            f"{draw(st.integers(0, 999_999)):06}",
        )
    )


def with_key(body: str) -> str:
    return f"{body}{ins_key(body):02}"


@pytest.mark.parametrize(("body", "key"), VECTORS)
def test_published_vectors(body: str, key: int) -> None:
    assert ins_key(body) == key
    assert parse_ins(f"{body}{key:02}").matricule == f"{body}{key:02}"


@pytest.mark.parametrize("matricule", WRONG_KEYS)
def test_wrong_key(matricule: str) -> None:
    with pytest.raises(InsError) as caught:
        parse_ins(matricule)
    assert caught.value.cause == "key"
    assert matricule not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "27903512151898",  # no second digit of the key
        "2790351215189890",
        "279 0351215189 89",
        " 279035121518989",
        "279035121518989\n",
        "579035121518989",  # no such sex
        "279135121518989",  # no month 13
        "279005121518989",  # no month 00
        "279032C21518989",  # Corsica has 2A and 2B only
        "2790351215189AA",
        "2790351215189" + "98",  # keys go from 01 to 97
        "2790351215189" + "00",
        "2790351215189\u0668\u0669",  # digits of another script
        "reponse.automatique-test",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(InsError) as caught:
        parse_ins(text)
    assert caught.value.cause == "syntax"


@pytest.mark.parametrize("body", ["279035121518", "27903512151890", "279032C215189", "27903512151é9"])
def test_key_of_something_else(body: str) -> None:
    with pytest.raises(InsError):
        ins_key(body)


@given(bodies())
def test_the_key_of_the_formula_is_accepted(body: str) -> None:
    assert parse_ins(with_key(body)) == Ins(with_key(body))


@given(bodies(departements=CORSICA))
def test_corsica_counts_as_19_and_18_and_reads_in_either_case(body: str) -> None:
    counted = body[:5] + {"2A": "19", "2B": "18"}[body[5:7]] + body[7:]
    assert ins_key(body) == ins_key(counted) == 97 - int(counted) % 97
    matricule = with_key(body)
    assert parse_ins(matricule.lower()) == parse_ins(matricule)
    assert parse_ins(matricule.lower()).matricule == matricule


@given(body=bodies(departements=MAINLAND), place=st.integers(0, 12), other=st.integers(0, 9))
def test_one_wrong_digit_never_passes(body: str, place: int, other: int) -> None:
    """97 is prime and no digit's weight is a multiple of it: a single error always changes the key."""
    wrong = body[:place] + str(other) + body[place + 1 :]
    assume(wrong != body)
    with pytest.raises(InsError):
        parse_ins(wrong + with_key(body)[13:])


@given(st.text(st.characters(), max_size=20) | st.text("0123456789ABab", min_size=13, max_size=16))
def test_arbitrary_text_gives_an_ins_or_ins_error(text: str) -> None:
    try:
        ins = parse_ins(text)
    except InsError:
        return
    assert ins.matricule == text.upper()
    assert ins == Ins(with_key(ins.matricule[:13]))


def test_does_not_show_itself() -> None:
    ins = parse_ins("279035121518989")
    assert "2790" not in f"{ins} {ins!r} {[ins]}"


def test_local_parts_of_a_patient_domain() -> None:
    assert ins_of_local("284052a32102552") == Ins("284052A32102552")
    assert ins_of_local("reponse.automatique-test") is None
    with pytest.raises(InsError):
        ins_of_local("279035121518990")
    with pytest.raises(InsError):
        ins_of_local("279035121518989+dossier")
    with pytest.raises(InsError):
        ins_of_local("\u0662790351215189")  # a digit of another script is no way round the check
