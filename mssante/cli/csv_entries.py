"""CSV files of things to open: mailboxes, citizens.

What must always hold: every fault of a file is told, each with the number of its line, and entries are given only when
there is none; the file is read line by line, what is kept is the entries.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from mssante.cli.frame import REFUSED, USAGE, Failure, details, open_store, say
from mssante.cli.passwords import fault_of, hashes
from mssante.domain.address import Address

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.store import Store


class _ToOpen(Protocol):
    @property
    def address(self) -> Address: ...

    @property
    def password(self) -> str: ...


Entry = TypeVar("Entry", bound=_ToOpen)


def open_all(
    settings: "Settings",
    file: Path,
    entries: Sequence[tuple[int, Entry]],
    register: "Callable[[Store, Sequence[tuple[Entry, str | None]]], object]",
    taken: Callable[[Entry], str],
    *,
    as_json: bool,
) -> None:
    """Opens what a file describes and tells how many: `register` gets each entry with the hash of its password. Raises
    Failure with every weak password and, in the words of `taken`, every address that has a mailbox, before the
    passwords are hashed, which takes seconds."""
    from mssante.store.accounts import find_bals

    with open_store(settings) as store:
        known = store.read_now(find_bals, [entry.address for _, entry in entries])
        faults = [
            f"{file}:{line}: {fault}"
            for line, entry in entries
            for fault in (
                fault_of(settings, entry.address, entry.password),
                taken(entry) if str(entry.address) in known else None,
            )
            if fault
        ]
        if faults:
            raise Failure([*faults, f"{file}: nothing was imported: correct these lines"])
        hashed = hashes(settings, [entry.password for _, entry in entries])
        register(store, [(entry, hash_) for (_, entry), hash_ in zip(entries, hashed, strict=True)])
    if as_json:
        details({"opened": len(entries)}, as_json)
    else:
        say(f"{len(entries)} opened")


def read_entries(
    file: Path,
    known: Sequence[str],
    required: Sequence[str],
    read: Callable[[Mapping[str, str]], Entry | list[str]],
) -> list[tuple[int, Entry]]:
    """The entries of a CSV file (UTF-8, comma or semicolon) with their lines. Its header names columns among `known`,
    all those `required`; `read` gives a record's entry, or what is wrong with it. Raises Failure with every fault."""
    faults: list[str] = []
    entries: list[tuple[int, Entry]] = []
    seen: dict[Address, int] = {}
    for line, fields in _lines(file, known, required):
        entry = [fields] if isinstance(fields, str) else read(fields)
        if isinstance(entry, list):
            faults += [f"{file}:{line}: {fault}" for fault in entry]
        elif entry.address in seen:
            faults.append(f"{file}:{line}: address: {entry.address} is also on line {seen[entry.address]}")
        else:
            seen[entry.address] = line
            entries.append((line, entry))
    if faults:
        raise Failure([*faults, f"{file}: nothing was imported: correct these lines"], REFUSED)
    if not entries:
        raise Failure(f"{file}: has no line after its header", USAGE)
    return entries


def _lines(file: Path, known: Sequence[str], required: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    """(number of its first line, fields or what is wrong) of each record. Raises Failure for what is no such file."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Failure(f"{file}: is not UTF-8 text: save it as CSV UTF-8", USAGE) from None
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}: name a CSV file", USAGE) from None
    head = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(keepends=True), delimiter=";" if ";" in head else ",", strict=True)
    try:
        columns = [name.strip().lower().replace("-", "_") for name in next(reader, [])]
        unknown = [name for name in columns if name not in known]
        missing = [name for name in required if name not in columns]
        if unknown or missing or len(set(columns)) < len(columns):
            least = f"{', '.join(required[:-1])} and {required[-1]} at least: {', '.join(known)}"
            raise Failure(f"{file}:1: the header must name each column once, {least}", USAGE)
        start = reader.line_num + 1
        for row in reader:
            if row:
                fields = dict(zip(columns, row, strict=False))
                yield start, fields if len(row) == len(columns) else f"{len(row)} fields under {len(columns)} columns"
            start = reader.line_num + 1
    except csv.Error as error:
        raise Failure(f"{file}:{reader.line_num}: not CSV: {error}", USAGE) from None
