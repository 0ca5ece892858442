"""The list that the ANS published on 2025-02-28, signed. It names people, so it stays outside this repository."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from espace_confiance.holder import EspaceConfiance
from espace_confiance.liste_blanche import ListeBlanche, ListeRefusee, SignerPin, read_liste
from tls.certificates import microseconds
from tls.names import parse_dn

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "listeblanche"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the published list is not here: no folder {FOLDER}")

LISTE = FOLDER / "listeblanchemssante-2025-02-28-signed.xml.gz"
SIGNER = FOLDER / "signer-alb.mssante.fr.pem"


@pytest.fixture(scope="module")
def data() -> bytes:
    return gzip.decompress(LISTE.read_bytes())


@pytest.fixture(scope="module")
def liste(data: bytes) -> ListeBlanche:
    return read_liste(data, SignerPin.from_pem(SIGNER))


def test_it_verifies_and_every_name_is_read(liste: ListeBlanche) -> None:
    assert (len(liste.entries), len(liste.domains), liste.dn_count) == (6494, 4944, 391)
    assert liste.faults == ()
    assert all(entry.dn is not None and entry.dn.complete for entry in liste.entries)
    assert liste.generated_us == 1_740_757_327_000_000  # 2025-02-28T15:42:07Z
    assert all(liste.accepts(entry.nom, entry.dn) and liste.knows(entry.dn) for entry in liste.entries if entry.dn)


def test_names_written_in_several_ways_are_one_operator(liste: ListeBlanche) -> None:
    assert len({entry.dn.key for entry in liste.entries if entry.dn}) == 378


def test_an_expired_signer_still_vouches_for_what_it_signed(liste: ListeBlanche) -> None:
    assert microseconds(liste.signer.not_valid_before_utc) < liste.generated_us
    assert liste.generated_us < microseconds(liste.signer.not_valid_after_utc)


def test_the_citizens_domain(liste: ListeBlanche) -> None:
    entries = liste.entries_for("patient.mssante.fr")
    assert [entry.dn_text for entry in entries] == [
        "CN=smtps1.ens.atos-infogerance.fr,OU=318003502400041,O=CNAM,ST=Paris (75),C=FR",
        "CN=smtps2.ens.atos-infogerance.fr,OU=318003502400041,O=CNAM,ST=Paris (75),C=FR",
    ]
    assert liste.accepts("patient.mssante.fr", parse_dn(entries[1].dn_text))
    assert not liste.accepts("medecin.mssante.fr", parse_dn(entries[1].dn_text))


def test_every_changed_octet_between_the_tags_is_noticed(data: bytes) -> None:
    position = data.index(b"<Nom>zenidoc") + 5
    for forged in (
        data[:position] + b"Z" + data[position + 1 :],
        data.replace(b"2025-02-28T15:42:07Z", b"2026-02-28T15:42:07Z", 1),
        data.replace(b"OU=318003502400041", b"OU=318003502400042", 1),
    ):
        with pytest.raises(ListeRefusee, match="Digest mismatch"):
            read_liste(forged, SignerPin.from_pem(SIGNER))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("invalid-tampered-digest.xml", "the signature does not hold: Digest mismatch"),
        ("invalid-reserialised-namespace.xml", "the root element is ListeBlancheMSSante, not"),
        ("ansforge-unsigned-truncated-2025-03-14.xml.gz", "not well-formed XML, or cut short"),
        ("excerpt-edge-cases-unsigned.xml", "the list is not signed"),
    ],
)
def test_copies_that_went_wrong_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    espace = EspaceConfiance(tmp_path / "liste.xml", SIGNER)
    with pytest.raises(ListeRefusee, match=reason):
        espace.import_file(FOLDER / name)
    assert espace.liste is None
    assert not (tmp_path / "liste.xml").exists()


def test_it_can_be_imported_as_published_and_kept(tmp_path: Path, data: bytes) -> None:
    espace = EspaceConfiance(tmp_path / "liste.xml", SIGNER)
    espace.import_file(LISTE)
    assert espace.lists("patient.mssante.fr")
    assert (tmp_path / "liste.xml").read_bytes() == data
    again = EspaceConfiance(tmp_path / "liste.xml", SIGNER)
    assert again.status()["domains"] == 4944
