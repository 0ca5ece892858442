"""The public extraction: what is read, and each way a file or a line can be wrong."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annuaire.extraction import COLUMNS, MAX_LINE, ExtractionError, read_extraction
from annuaire.fiche import Fiche
from mssante.domain.address import parse_address
from mssante.domain.identifiers import Adeli, Finess, Rpps, Siret
from tests.annuaire.fictive import (
    HEADER,
    HOPITAL_FINESS,
    JEANNE,
    JEANNE_RPPS,
    LINES,
    PAUL,
    PAUL_RPPS,
    SECRETARIAT,
    row,
    with_luhn,
)

MEMBER = "Extraction_Correspondance_MSSante_202511030900.txt"


def read(path: Path, *, on_fault: Callable[[ExtractionError], None] | None = None) -> list[Fiche]:
    """Every fiche of the file."""
    with path.open("rb") as file:
        return list(read_extraction(file, path.name, on_fault=on_fault))


def written(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / MEMBER
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def zipped(folder: Path, **members: str) -> Path:
    path = folder / "extraction.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_txt", ".txt"), text)
    return path


def test_the_columns_are_31() -> None:
    assert len(COLUMNS) == 31


def test_reads_every_column(tmp_path: Path) -> None:
    jeanne, paul, secretariat = read(written(tmp_path, *LINES))

    assert jeanne.type_bal == "PER"
    assert jeanne.address == parse_address("jeanne.exemple@medecin.example.mssante.fr")
    assert jeanne.personne is not None
    assert (jeanne.personne.civilite, jeanne.personne.nom, jeanne.personne.prenom) == ("DR", "EXEMPLE", "JEANNE")
    assert jeanne.personne.identifier == Rpps(JEANNE_RPPS)
    assert (jeanne.profession.categorie, jeanne.profession.categorie_libelle) == ("C", "Civil")
    assert (jeanne.profession.code, jeanne.profession.libelle) == ("10", "Médecin")
    assert jeanne.profession.savoir_faire == "SM26"
    assert jeanne.profession.savoir_faire_libelle == "Qualifié en Médecine Générale (SM)"
    assert jeanne.dematerialisation
    assert jeanne.structure is None

    assert paul.personne is not None
    assert paul.personne.identifier == Rpps(PAUL_RPPS)
    assert not paul.dematerialisation
    assert paul.service == "CARDIOLOGIE"
    assert paul.structure is not None
    assert paul.structure.identifier == Finess(HOPITAL_FINESS)
    assert paul.structure.raison_sociale == 'HOPITAL "EXEMPLE" DE L\'HAŸ'
    assert paul.structure.adresse == ("BATIMENT B", "12 BIS RUE DES ŒILLETS", "75000 VILLE-EXEMPLE")
    assert (paul.structure.code_postal, paul.structure.departement, paul.structure.pays) == ("75000", "Paris", "France")

    assert secretariat.type_bal == "ORG"
    assert secretariat.personne is None
    assert secretariat.structure is not None
    assert secretariat.structure.raison_sociale == "HOPITAL EXEMPLE"


def test_identifiers_of_other_kinds_stay_as_published(tmp_path: Path) -> None:
    siret = with_luhn("1234567890001")
    lines = [
        row(type="PER", adresse="a@x.fr", type_pp="0", id_pp="2a1234567", type_structure="3", id_structure=siret),
        row(type="PER", adresse="b@x.fr", type_pp="8", id_pp="12", type_structure="4", id_structure="R81311"),
        row(type="PER", adresse="c@x.fr", type_pp="8", id_pp="10001234567", type_structure="1", id_structure="7"),
    ]
    adeli, short, wrong_key = read(written(tmp_path, HEADER, *lines))
    assert adeli.personne is not None
    assert adeli.personne.identifier == Adeli("2A1234567")
    assert adeli.structure is not None
    assert adeli.structure.identifier == Siret(siret)
    assert short.personne is not None
    assert short.personne.identifier is None
    assert short.structure is not None
    assert (short.structure.kind, short.structure.number, short.structure.identifier) == ("4", "R81311", None)
    assert wrong_key.personne is not None
    assert wrong_key.personne.identifier == Rpps("10001234567"), "official data is kept with its wrong key"
    assert wrong_key.structure is not None
    assert wrong_key.structure.identifier is None


def test_one_address_on_several_lines_gives_several_fiches(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, HEADER, JEANNE, JEANNE))) == 2


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: str, start: str) -> None:
    fiches = read(written(tmp_path, start + HEADER, JEANNE, end=end))
    assert [str(fiche.address) for fiche in fiches] == ["jeanne.exemple@medecin.example.mssante.fr"]


def test_the_last_line_may_lack_its_end(tmp_path: Path) -> None:
    path = tmp_path / MEMBER
    path.write_text(f"{HEADER}\n{SECRETARIAT}")
    assert len(read(path)) == 1


def test_only_the_line_feed_ends_a_line(tmp_path: Path) -> None:
    line = row(type="ORG", adresse="a@x.fr", raison_sociale="UN\u2028DEUX\u0085TROIS\x0bQUATRE")
    (fiche,) = read(written(tmp_path, HEADER, line))
    assert fiche.structure is not None
    assert fiche.structure.raison_sociale == "UN\u2028DEUX\u0085TROIS\x0bQUATRE"


def test_reads_the_zip_as_it_is_published(tmp_path: Path) -> None:
    plain = read(written(tmp_path, *LINES))
    text = "\n".join(LINES) + "\n"
    assert read(zipped(tmp_path, extraction_txt=text)) == plain
    assert read(zipped(tmp_path, extraction_txt=text, lisezmoi="bonjour")) == plain


# --- faults of the file


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "the file is empty"),
        (("",), "line 1: column 1 is '' instead of 'Type de BAL'"),
        ((JEANNE,), "line 1: column 1 is 'PER' instead of 'Type de BAL'"),
        ((HEADER.replace("|Adresse BAL", ""),), "line 1: column 2 is 'Type Identifiant PP' instead of 'Adresse BAL'"),
        ((HEADER + "|Téléphone",), "line 1: 32 columns instead of 31"),
        ((HEADER.rpartition("|")[0],), "line 1: 30 columns instead of 31"),
        ((HEADER, JEANNE, "x" * MAX_LINE), f"line 3: longer than {MAX_LINE} octets"),
    ],
)
def test_another_file(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(ExtractionError) as caught:
        read(written(tmp_path, *lines), on_fault=lambda fault: None)
    assert str(caught.value) == message


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / MEMBER
    path.write_bytes(f"{HEADER}\n{JEANNE}\n{PAUL}\n".encode("latin-1", "replace"))
    with pytest.raises(ExtractionError, match=r"^line 1: not UTF-8$"):
        read(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.zip")


@pytest.mark.parametrize(("members", "count"), [({"lisezmoi": ""}, 0), ({"a_txt": "", "b_txt": ""}, 2)])
def test_zip_without_one_text(tmp_path: Path, members: dict[str, str], count: int) -> None:
    with pytest.raises(ExtractionError, match=f"holds {count} .txt files instead of one"):
        read(zipped(tmp_path, **members))


def test_a_cut_or_damaged_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path, extraction_txt="\n".join([HEADER, *[JEANNE, PAUL] * 50]))
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[: len(whole) // 2], whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(ExtractionError, match=r"damaged zip file|not UTF-8|column"):
            read(path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path, extraction_txt=HEADER)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the general purpose flag of the central directory
    path.write_bytes(raw)
    with pytest.raises(ExtractionError, match="is encrypted"):
        read(path)


# --- faults of a line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "line 3: 1 columns instead of 31"),
        (JEANNE + "|", "line 3: 32 columns instead of 31"),
        (JEANNE[:40], "line 3: 2 columns instead of 31"),
        (row(type="PRO", adresse="a@x.fr"), "line 3: unknown type of bal 'PRO'"),
        (row(type="PER"), "line 3: address of the bal: no @ in it"),
        (row(type="PER", adresse="a b@x.fr"), "line 3: address of the bal: malformed local part"),
    ],
)
def test_a_faulty_line(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, HEADER, JEANNE, line, PAUL)
    with pytest.raises(ExtractionError) as caught:
        read(path)
    assert str(caught.value) == message
    assert caught.value.line == 3

    faults: list[str] = []
    fiches = read(path, on_fault=lambda fault: faults.append(str(fault)))
    assert faults == [message]
    assert [fiche.address.local for fiche in fiches] == ["jeanne.exemple", "paul.exemple"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([line.encode() for line in LINES]), max_size=6))
def test_arbitrary_bytes_give_fiches_or_extraction_error(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / MEMBER
    path.write_bytes(b"\n".join([HEADER.encode(), *lines]))
    try:
        fiches = read(path)
    except ExtractionError:
        return
    assert all(isinstance(fiche, Fiche) for fiche in fiches)
