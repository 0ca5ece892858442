"""`mssante doctor` on ports and keys: ours, somebody else's, open to everybody."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.mssante.cli.conftest import Operator
from tls.certificates import describe, load_certificates

SERVICES = ("mx", "submission", "submissions", "imap", "imaps", "portal", "health")


@contextmanager
def health(labels: dict[str, str]) -> Iterator[int]:
    """The port of a running service that says it is this one."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            who = ",".join(f'{name}="{value}"' for name, value in labels.items())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"mssante_operator_info{{{who}}} 1.0\nmssante_loop_longest_stall_seconds 0.01\n".encode())

        def log_message(self, *_said: object) -> None:
            """Nothing on stderr: it is the command's."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def listen_only(operator: Operator, service: str, port: int) -> None:
    """That one service on, all others off."""
    file = operator.directory / "mssante.toml"
    text = file.read_text()
    for each in SERVICES:
        text, changed = re.subn(rf"(?m)^{each} = \d+$", f"{each} = {port if each == service else 0}", text)
        assert changed == 1, each
    file.write_text(text)


def ports(operator: Operator) -> tuple[list[tuple[str, str]], set[str]]:
    """What is said of the ports, and every kind of check that was made."""
    found = operator("doctor", "--json").json
    return [(one["verdict"], one["finding"]) for one in found if one["check"] == "port"], {
        one["check"] for one in found
    }


def fingerprint(operator: Operator) -> str:
    return describe(load_certificates(operator.settings.tls.certificate)[0]).fingerprint


def test_our_own_service_listens(operator: Operator) -> None:
    with health({"hostname": "mx.cabinet.test", "certificate": fingerprint(operator)}) as port:
        listen_only(operator, "health", port)
        said, checks = ports(operator)
    assert said == [("ok", f"health 127.0.0.1:{port} listens")]
    assert "loop" in checks


@pytest.mark.parametrize("hostname", ["mx.clinique.test", "mx.cabinet.test"])
def test_another_operator_on_our_ports(operator: Operator, hostname: str) -> None:
    """Even one of our name, made in another directory: `serve` would find the address in use."""
    with health({"hostname": hostname, "certificate": "00" * 32}) as port:
        listen_only(operator, "health", port)
        said, checks = ports(operator)
    taken = f"is taken by the operator {hostname}, not by this one: stop that one, or change [listen]"
    assert said == [("fault", f"health 127.0.0.1:{port} {taken}")]
    assert "loop" not in checks, "its figures are not ours"


def test_the_name_tells_when_our_certificate_cannot_be_read(operator: Operator) -> None:
    with health({"hostname": "mx.cabinet.test", "certificate": fingerprint(operator)}) as port:
        listen_only(operator, "health", port)
        (operator.directory / "pki" / "operator.pem").write_text("")
        said, _ = ports(operator)
    assert said == [("ok", f"health 127.0.0.1:{port} listens")]


def test_keys_that_everybody_can_read(operator: Operator) -> None:
    def keys() -> list[tuple[str, str]]:
        return [(one["verdict"], one["finding"]) for one in operator("doctor", "--json").json if one["check"] == "keys"]

    assert keys() == [("ok", "no other account of this machine can read one")]
    exposed = [operator.directory / "pki" / name for name in ("master.key", "operator.key")]
    for key in exposed:
        key.chmod(0o644)
    told = "is open to every account of this machine: chmod 600"
    assert keys() == [("fault", f"{key} {told} {key}") for key in exposed]
    assert operator("doctor").code == 1
    for key in exposed:
        key.chmod(0o640)
    assert keys()[0][0] == "ok", "a group may be meant"
