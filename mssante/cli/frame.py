"""What every command shares: the configuration in force, the store, failures with their exit code, listings.

What must always hold:
- The store is opened and closed by `open_store` alone, beside a running `serve` or not, and what goes wrong in it
  becomes a `Failure` with the right exit code.
- With `--json` stdout holds one JSON value and nothing else; times are ISO 8601 UTC in both forms.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.domain.address import Address
    from mssante.store import Conn, Store

REFUSED, USAGE, UNREACHABLE = 1, 2, 3
_PAGE = 1000
Row = TypeVar("Row")

Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout instead of a table.")]
Motif = Annotated[str, typer.Option("--motif", metavar="TEXT", help="Why, for the journal.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
]


class Failure(Exception):
    """The command ends here: each of `lines` says what is wrong and what to do; `code` is the exit code."""

    def __init__(self, told: str | list[str], code: int = REFUSED) -> None:
        self.lines = [told] if isinstance(told, str) else told
        super().__init__("\n".join(self.lines))
        self.code = code


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was said before the command."""

    config: Path | None

    def settings(self) -> "Settings":
        """The configuration in force. Raises ConfigError."""
        from mssante.config import load

        return load(self.config or Path(os.environ.get("MSSANTE_CONFIG") or "mssante.toml"))


def settings_of(context: typer.Context) -> "Settings":
    """The configuration in force for this command. Raises ConfigError."""
    invocation: Invocation = context.obj
    return invocation.settings()


@contextmanager
def open_store(settings: "Settings", *, create: bool = False) -> Iterator["Store"]:
    """The store of this configuration, for one command; `create` is for the one that makes it. Raises Failure for
    whatever the store refuses or cannot do."""
    from mssante.domain.clock import SystemClock
    from mssante.store import Store, errors
    from mssante.store.keys import read_master_key

    wrong = USAGE  # until it is open, what is refused is what the configuration names
    try:
        store = Store.open(
            settings.store.database,
            settings.store.contents,
            read_master_key(settings.store.master_key),
            clock=SystemClock(),
            base=settings.directory,
            patient_domains=frozenset(settings.operator.patient_domains),
            publish=True,
            readers=1,
            create=create,
            forward=False,  # an older version may be serving it
        )
        wrong = REFUSED
        try:
            yield store
        finally:
            store.close()
    except (errors.StoreUnavailable, errors.StoreFull) as error:
        raise Failure(f"store: {error}", UNREACHABLE) from None
    except errors.StoreError as error:
        raise Failure(str(error), wrong) from None


def address_of(text: str) -> "Address":
    """An address given on the command line."""
    from mssante.domain.address import AddressError, parse_address

    try:
        return parse_address(text)
    except AddressError as error:
        raise Failure(f"{text!r} is not an address: {error}", USAGE) from None


def actor(role: str = "operateur") -> str:
    """Who acts, for the journal: the role and the account of this machine."""
    import pwd

    try:
        return f"{role}:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"{role}:{os.getuid()}"


def password_of_stdin() -> str:
    """The first line of stdin, typed without echo when stdin is a terminal."""
    import getpass

    text = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not text or not text.isprintable():
        raise Failure("password: --password-stdin wants one line of printable text on stdin", USAGE)
    return text


def iso(time_us: int | None) -> str | None:
    """ISO 8601 UTC, to the second: what listings show."""
    if time_us is None:
        return None
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(one: object, *names: str) -> dict[str, Any]:
    """These attributes of a thing as listings have them: times (`..._us`) as `iso` says, under the name without it."""
    return {
        name.removesuffix("_us"): iso(getattr(one, name)) if name.endswith("_us") else getattr(one, name)
        for name in names
    }


def day_us(option: str, text: str, *, after: bool = False) -> int:
    """The first instant of a day (UTC), or with `after` that of the next day. Raises Failure."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Failure(f"{option}: {text!r} is not a day such as 2027-01-31", USAGE) from None
    return (int(day.timestamp()) + after * 86_400) * 1_000_000


def say(text: str) -> None:
    """A result, on stdout. A reader that has seen enough (head, less) and went away is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def _json(value: Any) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def complain(line: str) -> None:
    """One thing that is wrong, on stderr."""
    print(f"mssante: {' '.join(line.split())}", file=sys.stderr)


def show_json(value: Any) -> None:
    """One JSON value on stdout."""
    say(_json(value))


def pages(store: "Store", page: "Callable[[Conn, int], Sequence[Row]]", last: Callable[[Row], int]) -> Iterator[Row]:
    """All that `page` gives of the store, some at a time: each time what comes after the `last` one."""
    found = store.read_now(page, 0)
    while found:
        yield from found
        found = store.read_now(page, last(found[-1]))


def listing(rows: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    """A table with the keys as its head, or one JSON array. The rows have the same keys. They may be more than memory
    holds: they are shown by pages, with columns as wide as the first page needs."""
    rest = iter(rows)
    page = list(islice(rest, _PAGE))
    if not page:
        if as_json:
            show_json([])
        return
    head = [key.replace("_", " ").upper() for key in page[0]]
    widths = [0] * len(head)
    before = "[\n"
    while page:
        following = list(islice(rest, _PAGE))
        if as_json:
            say(before + _json(page)[2:-2] + ("," if following else "\n]"))
        else:
            table = [*([head] if before else []), *([_cell(value) for value in row.values()] for row in page)]
            widths = [
                max(width, *map(len, column)) for width, column in zip(widths, zip(*table, strict=True), strict=True)
            ]
            say("\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in table))
        before, page = "", following


def details(record: Mapping[str, Any], as_json: bool) -> None:
    """One thing: a line a key, or one JSON object."""
    if as_json:
        show_json(record)
        return
    width = max(map(len, record), default=0)
    say("\n".join(f"{key.replace('_', ' '):<{width}}  {_cell(value)}" for key, value in record.items()))


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_cell(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "-"
    return "".join(c if c.isprintable() else "?" for c in str(value))
