from __future__ import annotations

from pathlib import Path

import pytest

from espace_confiance.routes import Routes, RoutesError, read_routes, write_routes
from tls.files import replace_file

ROUTES = {"cabinet.mssante.example": ("127.0.0.1", 2500), "clinique.mssante.example": ("::1", 2600)}


def test_written_routes_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    write_routes(path, ROUTES)
    assert read_routes(path) == ROUTES
    routes = Routes(path)
    assert routes.lookup("Clinique.MSSante.example") == ("::1", 2600)
    assert routes.lookup("autre.mssante.example") is None


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    routes = Routes(path)
    assert routes.lookup("cabinet.mssante.example") is None
    write_routes(path, ROUTES)
    assert routes.lookup("cabinet.mssante.example") == ("127.0.0.1", 2500)
    path.unlink()
    assert routes.lookup("cabinet.mssante.example") is None


def test_no_file_no_route() -> None:
    assert Routes(None).lookup("cabinet.mssante.example") is None


FAULTS = [
    ("[routes", "routes.toml"),
    ("", "one table"),
    ("routes = 1", "one table"),
    ("[routes]\n[autre]", "one table"),
    ('[routes]\n"a.example" = "127.0.0.1"', "host:port"),
    ('[routes]\n"a.example" = ":25"', "host:port"),
    ('[routes]\n"a.example" = "h:0"', "host:port"),
    ('[routes]\n"a.example" = "h:65536"', "host:port"),
    ('[routes]\n"a.example" = "h:²"', "host:port"),
    ('[routes]\n"a.example" = 25', "host:port"),
    ('[routes]\na.example = "h:25"', "host:port"),  # without quotes TOML makes tables of the labels
]


@pytest.mark.parametrize(("text", "reason"), FAULTS)
def test_a_faulty_file_is_refused_at_the_start_and_changes_nothing_later(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "routes.toml"
    write_routes(path, ROUTES)
    routes = Routes(path)
    replace_file(path, text.encode())
    assert routes.lookup("cabinet.mssante.example") == ("127.0.0.1", 2500)
    assert reason in routes.fault
    with pytest.raises(RoutesError, match=reason):
        Routes(path)
    write_routes(path, ROUTES)
    assert routes.lookup("cabinet.mssante.example") == ("127.0.0.1", 2500)
    assert routes.fault == ""


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RoutesError):
        Routes(path)
