"""Static routes of a development trust space: where each domain's MX listens, without DNS.

Invariants
- One TOML file, shared by all operators of the trust space, `[routes]` table, domain → "host:port".
- It is read again when it changes; a faulty new file leaves the old routes in force and says so in `fault`.
- Domains are lower-case A-labels.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from tls.files import replace_file

_HEAD = """# Static routes of this development trust space, shared by its operators: domain = "host:port" of the MX.
# Read again when it changes. Written by `mssante init`.
[routes]
"""


class RoutesError(ValueError):
    """The routes file cannot be used; the message names the file and the reason."""


class Routes:
    """The static routes in force. A missing file means no route; other operators are then found by their MX records."""

    def __init__(self, path: Path | None) -> None:
        """path: the routes file, or None for no static route at all. Raises RoutesError when the file is faulty."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._routes: dict[str, tuple[str, int]] = {}
        self.fault = ""
        self._reload()
        if self.fault:
            raise RoutesError(self.fault)

    def lookup(self, domain: str) -> tuple[str, int] | None:
        """(host, port) of the domain's MX, or None. One `stat` a call."""
        self._reload()
        return self._routes.get(domain.lower())

    def _reload(self) -> None:
        if self._path is None:
            return
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._routes, self._stamp, self.fault = {}, None, ""
            return
        except OSError as fault:
            self.fault = f"{self._path}: {fault.strerror}"
            return
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._routes, self.fault = read_routes(self._path), ""
        except RoutesError as fault:
            self.fault = str(fault)


def read_routes(path: Path) -> dict[str, tuple[str, int]]:
    """The routes of a file: domain → (host, port). Raises RoutesError."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as fault:
        raise RoutesError(f"{path}: {fault.strerror}") from fault
    except ValueError as fault:
        raise RoutesError(f"{path}: {fault}") from fault
    routes = table.get("routes")
    if set(table) - {"routes"} or not isinstance(routes, dict):
        raise RoutesError(f"{path}: one table [routes] expected")
    return {domain.lower(): _endpoint(path, domain, text) for domain, text in routes.items()}


def _endpoint(path: Path, domain: str, text: object) -> tuple[str, int]:
    if isinstance(text, str):
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            return host, int(port)
    raise RoutesError(f'{path}: the route of {domain} must be "host:port", not {text!r}')


def write_routes(path: Path, routes: Mapping[str, tuple[str, int]]) -> None:
    """Replace the routes file whole. Domains and hosts are plain ASCII names or addresses (the caller checked)."""
    lines = []
    for domain, (host, port) in sorted(routes.items()):
        literal = f"[{host}]" if ":" in host else host
        lines.append(f'"{domain}" = "{literal}:{port}"\n')
    replace_file(path, (_HEAD + "".join(lines)).encode("ascii"))
