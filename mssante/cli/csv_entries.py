"""CSV files of things to open: mailboxes, citizens.

What must always hold: every fault of a file is told, each with the number of its line: what cannot be read, weak
passwords, addresses that are taken or named twice; all its lines are opened, in one transaction, or none. The file is
read twice, page by page: of a line no more is kept than a number for its address and the hash of its password.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TextIO, TypeVar

from mssante.cli.frame import USAGE, Failure, actor, complain, details, open_store, say
from mssante.cli.passwords import Entry, New, fault_of, hashes, with_hash
from mssante.domain.address import Address

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.store import Store, Tx

_PAGE = 1000


Lines = Iterator[tuple[int, dict[str, str] | str]]


@dataclass(frozen=True, slots=True)
class Form(Generic[New]):
    """What the files of one kind are. Their header names columns among `columns`, all those `required`; `read` gives a
    record's entry, or what is wrong with it; `taken` says of an address that it has a mailbox; `register` opens."""

    columns: Sequence[str]
    required: Sequence[str]
    read: Callable[[Mapping[str, str]], Entry[New] | list[str]]
    taken: Callable[[Address], str]
    register: "Callable[[Tx, Sequence[New], str], object]"


def open_all(settings: "Settings", file: Path, form: Form[New], *, as_json: bool) -> None:
    """Opens what a CSV file (UTF-8, comma or semicolon) describes and tells how many. Raises Failure."""
    with _text(file) as text, open_store(settings) as store:
        opened = _check(settings, store, file, text, form)
        hashed: list[str | None] = []
        for page in _pages(_entries(file, text, form)):
            hashed += hashes(settings, [entry.password for entry in page])

        def register(tx: "Tx") -> None:
            waiting = iter(hashed)
            for page in _pages(_entries(file, text, form)):
                new = [with_hash(entry.new, hash_) for entry, hash_ in zip(page, waiting, strict=False)]
                form.register(tx, new, actor())

        store.write_now(register)
    if as_json:
        details({"opened": opened}, as_json)
    else:
        say(f"{opened} opened")


def _check(settings: "Settings", store: "Store", file: Path, text: TextIO, form: Form[New]) -> int:
    """The number of entries; tells every fault, and raises Failure when there was one."""
    from mssante.store.accounts import find_bals

    seen: dict[int, int] = {}
    sound = True
    for page in _pages(_lines(file, text, form)):
        read: list[tuple[int, Entry[New] | list[str]]] = [
            (line, [fields] if isinstance(fields, str) else form.read(fields)) for line, fields in page
        ]
        known = store.read_now(find_bals, [entry.address for _, entry in read if not isinstance(entry, list)])
        for line, entry in read:
            if isinstance(entry, list):
                faults: list[str | None] = [*entry]
            else:
                first = seen.setdefault(hash(entry.address), line)
                faults = [
                    fault_of(settings, entry.address, entry.password),
                    form.taken(entry.address) if str(entry.address) in known else None,
                    f"address: {entry.address} is also on line {first}" if first != line else None,
                ]
            for fault in filter(None, faults):
                complain(f"{file}:{line}: {fault}")
                sound = False
    if not sound:
        raise Failure(f"{file}: nothing was imported: correct these lines")
    if not seen:
        raise Failure(f"{file}: has no line after its header", USAGE)
    return len(seen)


def _entries(file: Path, text: TextIO, form: Form[New]) -> Iterator[Entry[New]]:
    for line, fields in _lines(file, text, form):
        entry = fields if isinstance(fields, str) else form.read(fields)
        if isinstance(entry, str | list):
            raise Failure(f"{file}:{line}: was changed while it was read: nothing was imported")
        yield entry


_Item = TypeVar("_Item")


def _pages(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    rest = iter(items)
    while page := list(islice(rest, _PAGE)):
        yield page


@contextmanager
def _text(file: Path) -> Iterator[TextIO]:
    """The file as text that can be read again from its beginning, which a pipe cannot."""
    try:
        opened = file.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}: name a CSV file", USAGE) from None
    with opened:
        try:
            text = opened if opened.seekable() else io.StringIO(opened.read(), newline="")
        except UnicodeDecodeError:
            raise _no_text(file) from None
        yield text


def _no_text(file: Path) -> Failure:
    return Failure(f"{file}: is not UTF-8 text: save it as CSV UTF-8", USAGE)


def _lines(file: Path, text: TextIO, form: Form[New]) -> Lines:
    """(number of its first line, fields or what is wrong) of each record. Raises Failure for what is no such file."""
    try:
        text.seek(0)
        delimiter = ";" if ";" in text.readline() else ","
        text.seek(0)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        columns = [name.strip().lower().replace("-", "_") for name in next(reader, [])]
        unknown = [name for name in columns if name not in form.columns]
        missing = [name for name in form.required if name not in columns]
        if unknown or missing or len(set(columns)) < len(columns):
            least = f"{', '.join(form.required[:-1])} and {form.required[-1]} at least: {', '.join(form.columns)}"
            raise Failure(f"{file}:1: the header must name each column once, {least}", USAGE)
        start = reader.line_num + 1
        for row in reader:
            if row:
                fields = dict(zip(columns, row, strict=False))
                yield start, fields if len(row) == len(columns) else f"{len(row)} fields under {len(columns)} columns"
            start = reader.line_num + 1
    except UnicodeDecodeError:
        raise _no_text(file) from None
    except csv.Error as error:
        raise Failure(f"{file}:{reader.line_num}: not CSV: {error}", USAGE) from None
