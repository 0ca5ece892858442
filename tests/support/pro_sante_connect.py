"""A Pro Santé Connect of one's own: a real web server on loopback with discovery at its own path, keys, introspection
and userinfo, and tokens that are really signed.

It runs in a thread, so that tests with and without a loop, and operators in processes of their own, ask it alike.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import ssl
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET, SOFTWARE = "operateur", "un secret: de client", "logiciel-du-cabinet"
REALM = "/auth/realms/esante-wallet"
DISCOVERY = REALM + "/.well-known/wallet-openid-configuration"


@dataclass
class FakeConnect:
    """``keys``: the first signs, all are published. ``ended``: tokens that are active no more. ``answers``: by path,
    what is said in place of the right answer (status, body). ``now_s``: its clock, the machine's when None."""

    port: int = 0
    now_s: int | None = None
    keys: list[RSAKey] = field(default_factory=lambda: [new_key("k1")])
    ended: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The paths of the requests that came."""

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}{REALM}"

    def claims(self, national: str, **changes: Any) -> dict[str, Any]:
        """What an access token for the person of this PS_IdNat says; a change to None takes a claim away."""
        now_s = int(time.time()) if self.now_s is None else self.now_s
        said = {"iss": self.issuer, "sub": f"f:9f1c:{national}", "preferred_username": national, "azp": SOFTWARE}
        times = {"iat": now_s, "exp": now_s + 120, "acr": "eidas1", "typ": "Bearer", "scope": "openid scope_all"}
        return {name: value for name, value in (said | times | changes).items() if value is not None}

    def token(self, national: str, *, key: RSAKey | None = None, alg: str = "RS256", **changes: Any) -> str:
        """A signed access token."""
        key = key or self.keys[0]
        return jwt.encode({"alg": alg, "kid": key.kid}, self.claims(national, **changes), key, algorithms=[alg])

    def by_secret(self, national: str, secret: bytes | None) -> str:
        """One of ``alg: HS256`` under a secret, such as the public key; of ``alg: none`` without."""
        head = {"alg": "HS256" if secret is not None else "none", "typ": "JWT", "kid": self.keys[0].kid}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (head, self.claims(national)))
        return f"{signed}.{_base64url(hmac.digest(secret, signed.encode(), 'sha256')) if secret is not None else ''}"

    # --- what it answers

    def answer(self, path: str, headers: dict[str, str], form: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        connect = REALM + "/protocol/openid-connect"
        said: dict[str, Any] | None = None
        if path == DISCOVERY:
            base = f"{self.issuer}/protocol/openid-connect"
            said = {"issuer": self.issuer, "jwks_uri": f"{base}/certs", "userinfo_endpoint": f"{base}/userinfo"}
            said |= {"introspection_endpoint": f"{base}/token/introspect"}
        elif path == connect + "/certs":
            said = {"keys": [key.as_dict(private=False, use="sig", alg="RS256") for key in self.keys]}
        elif path == connect + "/token/introspect":
            given = b64decode(headers.get("authorization", "Basic ").partition(" ")[2]).decode()
            if given != f"{CLIENT}:{SECRET}":
                return 401, b'{"error": "invalid_client"}'
            token = form.get("token", "")
            said = {"active": False} if token in self.ended else {"active": True, **self._read(token)}
        elif path == connect + "/userinfo":
            claims = self._read(headers.get("authorization", "").partition(" ")[2])
            national = claims["sub"].rpartition(":")[2]
            said = {"sub": claims["sub"], "SubjectNameID": national, "family_name": "EXEMPLE"}
        return (404, b"{}") if said is None else (200, json.dumps(said).encode())

    def _read(self, token: str) -> dict[str, Any]:
        part = token.split(".")[1]
        read: dict[str, Any] = json.loads(b64decode(part + "=" * (-len(part) % 4), altchars=b"-_"))
        return read


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


@contextlib.contextmanager
def serving(context: ssl.SSLContext, connect: FakeConnect | None = None) -> Iterator[FakeConnect]:
    """The fake on a port of its own (or that of ``connect``, once more), over https."""
    fake = connect or FakeConnect()
    open_sockets: set[socket.socket] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            open_sockets.add(self.request)
            super().setup()

        def finish(self) -> None:
            super().finish()
            open_sockets.discard(self.request)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            form = {name: values[0] for name, values in parse_qs(body).items()}
            status, said = fake.answer(self.path, headers, form)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.send_header("Location", "https://elsewhere.example/")
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_: object) -> None:
            """A client that goes away in the middle is what some tests are about."""

    server = Server(("localhost", fake.port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    fake.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        for one in tuple(open_sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        server.server_close()  # waits for the threads of the connections
