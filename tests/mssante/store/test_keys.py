"""The master key and what is derived from it."""

import stat
from pathlib import Path

import pytest

from mssante.store.errors import ContentError, StoreError
from mssante.store.keys import Keys, create_master_key, read_master_key
from tests.mssante.store.made import MASTER_KEY, PATIENT, PATIENT_DOMAIN


@pytest.fixture
def keys() -> Keys:
    return Keys(MASTER_KEY, frozenset({PATIENT_DOMAIN}))


def test_a_wrapped_key_opens_only_with_its_content(keys: Keys) -> None:
    data_key, content_id = b"k" * 32, b"c" * 16
    wrapped = keys.wrap(data_key, content_id)
    assert keys.unwrap(wrapped, content_id) == data_key
    with pytest.raises(ContentError):
        keys.unwrap(wrapped, b"d" * 16)


def test_sealing_the_same_value_twice_looks_different_and_opens_the_same(keys: Keys) -> None:
    first, second = keys.seal(b"secret", b"row 1"), keys.seal(b"secret", b"row 1")
    assert first != second
    assert keys.unseal(first, b"row 1") == keys.unseal(second, b"row 1") == b"secret"


@pytest.mark.parametrize("damaged", [b"", b"short", b"\0" * 40])
def test_a_damaged_seal_is_refused(keys: Keys, damaged: bytes) -> None:
    with pytest.raises(ContentError):
        keys.unseal(damaged)


def test_a_value_moved_to_another_row_does_not_open(keys: Keys) -> None:
    with pytest.raises(ContentError):
        keys.unseal(keys.seal(b"secret", b"row 1"), b"row 2")


def test_the_facts_of_a_message_open_with_its_content_only(keys: Keys) -> None:
    ids = [bytes([first]) + b"c" * 15 for first in (0, 1, 127, 128, 255)]
    for content_id in ids:
        sealed = keys.seal_facts(b"facts", content_id)
        assert keys.unseal_facts(sealed, content_id) == b"facts"
        for other in ids:
            if other != content_id:
                with pytest.raises(ContentError):
                    keys.unseal_facts(sealed, other)


def test_facts_that_were_sealed_as_other_values_are_still_open(keys: Keys) -> None:
    assert keys.unseal_facts(keys.seal(b"facts", b"c" * 16), b"c" * 16) == b"facts"


def test_a_patient_is_named_by_a_hash_that_depends_on_the_operator(keys: Keys) -> None:
    other = Keys(bytes(32), frozenset({PATIENT_DOMAIN}))
    assert keys.trace_name(PATIENT).startswith("ins:")
    assert len(keys.trace_name(PATIENT)) == len("ins:") + 12
    assert keys.locator(PATIENT).startswith(keys.trace_name(PATIENT))
    assert keys.locator(PATIENT) != other.locator(PATIENT)
    assert PATIENT.split("@", maxsplit=1)[0] not in keys.locator(PATIENT)


def test_a_professional_is_named_as_he_is(keys: Keys) -> None:
    address = "marie.durand@cabinet.mssante.fr"
    assert keys.locator(address) == keys.trace_name(address) == address


def test_patients_are_hidden_inside_lists_too(keys: Keys) -> None:
    told = keys.traceable({"recipients": (PATIENT, "a@b.fr"), "sender": PATIENT, "size": 12})
    assert told == {"recipients": [keys.trace_name(PATIENT), "a@b.fr"], "sender": keys.trace_name(PATIENT), "size": 12}


def test_patients_are_hidden_inside_texts_and_in_any_case(keys: Keys) -> None:
    name = keys.trace_name(PATIENT)
    assert keys.trace_name(f"550 5.1.1 <{PATIENT}>: inconnu") == f"550 5.1.1 <{name}>: inconnu"
    assert keys.trace_name(f"<{PATIENT.upper()}>, {PATIENT}.") == f"<{name}>, {name}."
    assert keys.locator(PATIENT.upper()) == keys.locator(PATIENT)
    for innocent in (f"{PATIENT}.example", f"x@sous.{PATIENT_DOMAIN}", PATIENT_DOMAIN, "a@b.fr", ""):
        assert keys.trace_name(innocent) == innocent
    assert Keys(MASTER_KEY).trace_name(PATIENT) == PATIENT


def test_a_master_key_is_written_once_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    key = create_master_key(path)
    assert read_master_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="exists already"):
        create_master_key(path)
    assert read_master_key(path) == key


@pytest.mark.parametrize("text", ["", "zz" * 32, "00" * 31, "é" * 64])
def test_a_master_key_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(text)
    with pytest.raises(StoreError, match="64 hexadecimal digits"):
        read_master_key(path)


def test_a_missing_master_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"master\.key cannot be read"):
        read_master_key(tmp_path / "master.key")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(StoreError, match="32 bytes"):
        Keys(b"short")
