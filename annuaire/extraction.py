"""Reader of the public extraction ``Extraction_Correspondance_MSSante``, a ``.txt`` of 90 MB or the ``.zip`` around it.

What must always hold:
- streaming: one line in memory at a time, of bounded length; a zip gives at most `MAX_BYTES`, whatever it announces;
- the header line is checked column by column before any line is believed: a shifted column would give one
  professional's address to another;
- a line is cut at ``|`` and nothing else. Values hold quotes, which quote nothing (facts 2.4), and may hold the
  Unicode line separators at which `str.splitlines` would cut;
- a fault names its line, the header being line 1;
- what is fetched is bounded and goes to a file without a name, which no other program can put in our way; from https
  nothing leads to http.
"""

import io
import re
import ssl
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, cast

from annuaire.fiche import TYPES, Fiche, Personne, Profession, Structure
from annuaire.source import Entry, Extraction, SourceError, Unchanged
from mssante.domain.address import AddressError, parse_address
from mssante.domain.annuaire import Fault

COLUMNS: Final[tuple[str, ...]] = (
    "Type de BAL",
    "Adresse BAL",
    "Type Identifiant PP",
    "Identifiant PP",
    "Identification nationale PP",
    "Type identifiant structure",
    "Identification Structure",
    "Service de rattachement",
    "Civilité d'exercice",
    "Nom d'exercice",
    "Prénom d'exercice",
    "Catégorie profession",
    "Libellé de catégorie profession",
    "Code Profession",
    "Libellé Profession",
    "Code savoir-faire",
    "Libellé savoir-faire",
    "Dématérialisation",
    "Raison Sociale structure BAL",
    "Enseigne commerciale structure BAL",
    "L2COMPLEMENTLOCALISATION structure BAL",
    "L3COMPLEMENTDISTRIBUTION structure BAL",
    "L4NUMEROVOIE structure BAL",
    "L4COMPLEMENTNUMEROVOIE structure BAL",
    "NL4TYPEVOIE structure BAL",
    "L4LIBELLEVOIE structure BAL",
    "L5LIEUDITMENTION structure BAL",
    "L6LIGNEACHEMINEMENT structure BAL",
    "Code postal structure BAL",
    "Département structure BAL",
    "Pays structure BAL",
)

MAX_LINE: Final = 16 * 1024
"""Octets of one line; the longest published are a few hundred."""
MAX_BYTES: Final = 1024 * 1024 * 1024
"""Octets of the whole text, eleven times what is published."""


class ExtractionError(ValueError):
    """The file, or one line of it, is not the extraction. ``line`` is 0 when the fault is of the file itself."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}" if line else problem)
        self.line: Final = line
        self.problem: Final = problem


class ExtractionReading:
    """The extraction as a source (`annuaire.source.Reading`): always whole. Its cursor is the dated name of what is
    inside, so that a file that was read before is told from a new one before it is fetched."""

    name = "extraction"
    whole = True

    def __init__(self, spec: Extraction) -> None:
        self._spec = spec
        self.cursor = ""

    def read(self, since: str) -> Iterator[Entry | Fault]:
        """Raises SourceError; Unchanged when the server still offers the file of ``since``."""
        faults: list[Fault] = []
        with ExitStack() as stack:
            try:
                if self._spec.path:
                    file: IO[bytes] = stack.enter_context(Path(self._spec.path).open("rb"))
                    self.cursor = Path(self._spec.path).name
                else:
                    file = stack.enter_context(tempfile.TemporaryFile())
                    self.cursor = _fetch(self._spec, since, file)
                for fiche in read_extraction(
                    file, self.cursor, on_fault=lambda fault: faults.append(Fault(f"line {fault.line}", fault.problem))
                ):
                    yield Entry(self.name, (fiche,))
                    if faults:
                        yield from faults
                        faults.clear()
                yield from faults
            except ExtractionError as error:
                raise SourceError(f"{self.cursor}: {error}") from error
            except OSError as error:
                raise SourceError(f"{self._spec.path or self._spec.url}: {error.strerror or error}") from error


def _fetch(spec: Extraction, since: str, file: IO[bytes]) -> str:
    """Writes the file that the server offers, and gives its dated name. Raises SourceError, Unchanged."""
    import httpx2

    def staying(request: httpx2.Request) -> None:
        if request.url.scheme != httpx2.URL(spec.url).scheme:
            raise SourceError(f"{spec.url}: sends us on to {request.url}, without the certificate that vouches for it")

    context = ssl.create_default_context(cafile=spec.roots or None)
    hooks: dict[str, list[Callable[..., object]]] = {"request": [staying]}
    try:
        with (
            httpx2.Client(verify=context, timeout=30, follow_redirects=True, event_hooks=hooks) as client,
            client.stream("GET", spec.url) as answer,
        ):
            if answer.status_code != 200:
                again = answer.status_code >= 500 or answer.status_code == 429
                raise SourceError(f"{spec.url}: the server answers {answer.status_code}", again=again)
            named = re.search(r'filename="?([\w.-]{1,120})', answer.headers.get("content-disposition", ""))
            name = named[1] if named else ""
            if name and name == since:
                raise Unchanged  # the connection is closed before a byte of the body is asked for
            size = 0
            for piece in answer.iter_raw(64 * 1024):
                size += len(piece)
                if size > MAX_BYTES:
                    raise SourceError(f"{spec.url}: more than {MAX_BYTES} octets")
                file.write(piece)
    except httpx2.HTTPError as error:
        raise SourceError(f"{spec.url}: {error or type(error).__name__}", again=True) from error
    file.seek(0)
    return name


def read_extraction(
    file: IO[bytes], name: str = "the file", *, on_fault: Callable[[ExtractionError], None] | None = None
) -> Iterator[Fiche]:
    """Every fiche of the open file, in its order; ``name`` is for messages.

    A fault of the file (not there, no extraction in it, another header, cut, not UTF-8) raises `ExtractionError`, or
    OSError when it cannot be read. So does a faulty line, unless ``on_fault`` is given: then it gets the fault, and
    the line alone is left out, because one bad line of half a million should not hide the others.
    """
    with ExitStack() as stack:
        try:
            yield from _read(_open(file, name, stack), on_fault)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ExtractionError(0, f"{name}: damaged zip file: fetch it again") from error


def _open(file: IO[bytes], name: str, stack: ExitStack) -> IO[bytes]:
    magic = file.read(4)
    file.seek(0)
    if magic != b"PK\x03\x04":
        return file
    archive = stack.enter_context(zipfile.ZipFile(file))
    members = [info for info in archive.infolist() if info.filename.endswith(".txt")]
    if len(members) != 1:
        raise ExtractionError(0, f"{name}: holds {len(members)} .txt files instead of one")
    if members[0].flag_bits & 1 or members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ExtractionError(0, f"{name}: {members[0].filename} is encrypted or packed in an unknown way")
    # ZipExtFile reads a line of limited length octet by octet.
    return io.BufferedReader(cast(io.RawIOBase, stack.enter_context(archive.open(members[0]))), 64 * 1024)


def _read(file: IO[bytes], on_fault: Callable[[ExtractionError], None] | None) -> Iterator[Fiche]:
    read = 0
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        read += len(line)
        if len(line) > MAX_LINE:
            raise ExtractionError(number, f"longer than {MAX_LINE} octets")
        if read > MAX_BYTES:
            raise ExtractionError(number, f"the text is longer than {MAX_BYTES} octets")
        try:
            values = _values(number, line)
            if number == 1:
                _check_header(values)
                continue
            fiche = _fiche(number, values)
        except ExtractionError as fault:
            if on_fault is None or number == 1:
                raise
            on_fault(fault)
            continue
        yield fiche
    if not number:
        raise ExtractionError(0, "the file is empty")


def _values(number: int, line: bytes) -> list[str]:
    try:
        return line.decode().rstrip("\r\n").split("|")
    except UnicodeDecodeError as error:
        raise ExtractionError(number, "not UTF-8") from error


def _check_header(names: list[str]) -> None:
    names[0] = names[0].removeprefix("\ufeff")
    for place, (name, expected) in enumerate(zip(names, COLUMNS, strict=False), start=1):
        if name.strip() != expected:
            raise ExtractionError(1, f"column {place} is {name.strip()[:60]!r} instead of {expected!r}")
    if len(names) != len(COLUMNS):
        raise ExtractionError(1, f"{len(names)} columns instead of {len(COLUMNS)}")


def _fiche(number: int, values: list[str]) -> Fiche:
    if len(values) != len(COLUMNS):
        raise ExtractionError(number, f"{len(values)} columns instead of {len(COLUMNS)}")
    values = [value.strip() for value in values]
    if values[0] not in TYPES:
        raise ExtractionError(number, f"unknown type of bal {values[0][:20]!r}")
    try:
        address = parse_address(values[1])
    except AddressError as error:
        raise ExtractionError(number, f"address of the bal: {error}") from error
    personne = Personne(values[2], values[3], *values[8:11]) if any(values[2:4]) or any(values[8:11]) else None
    voie = " ".join(filter(None, values[22:26]))
    lines = tuple(line for line in (*values[20:22], voie, *values[26:28]) if line)
    structure = Structure(
        kind=values[5],
        number=values[6],
        raison_sociale=values[18],
        enseigne=values[19],
        adresse=lines,
        code_postal=values[28],
        departement=values[29],
        pays=values[30],
    )
    return Fiche(
        type_bal=values[0],
        address=address,
        personne=personne,
        profession=Profession(*values[11:17]),
        structure=structure if any(values[5:7]) or any(values[18:]) else None,
        service=values[7],
        dematerialisation=values[17] == "O",
    )
