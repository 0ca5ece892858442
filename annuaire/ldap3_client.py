"""The only file that knows ldap3: connections, paged searches, and the few writes that the address books need.

What must always hold:
- ldap3 is synchronous and keeps the interpreter to itself: what is here runs in a process of its own.
- Over ldaps the server's certificate is verified against the authorities given, and its name; nothing is sent before.
- Whatever ldap3 raises or a server answers becomes a SourceError: refused sign-in, wrong base, cut connection, each in
  its own words.
"""

import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from annuaire.source import Ldap, SourceError, secret_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # names of pyasn1 that ldap3 2.9 still uses
    import ldap3
    from ldap3.core.exceptions import LDAPException, LDAPInvalidFilterError

ENTRY_EXISTS, NO_SUCH_ENTRY = 68, 32
_REFUSALS = {
    NO_SUCH_ENTRY: "the base does not exist there: correct it",
    49: "the sign-in is refused: correct bind_dn and its password",
    48: "this way of signing in is refused there: correct bind_dn",
    50: "the account may not do that there",
    8: "a sign-in is wanted: name bind_dn, or present a certificate",
    13: "only encrypted connections are taken: use ldaps://",
    4: "the server sends no more entries than its limit: lower page_size",
    51: "the server is busy",
    52: "the server is away",
}
_AGAIN = (51, 52, 80)

Entry = tuple[str, Mapping[str, list[bytes]]]
"""A DN, and the values of its attributes by lower-case name."""


def connected(spec: Ldap, *, read_only: bool = True) -> Any:
    """A connection that has signed in. Raises SourceError."""
    secure = spec.url.startswith("ldaps://")
    own = bool(spec.certificate) and secure
    try:
        tls = ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            ca_certs_file=spec.roots or None,
            local_certificate_file=spec.certificate if own else None,
            local_private_key_file=spec.key if own else None,
        )
        server = ldap3.Server(
            spec.url, get_info=ldap3.NONE, connect_timeout=spec.timeout_s, tls=tls if secure else None
        )
        how: dict[str, Any] = {}
        if spec.bind_dn:
            how = {"user": spec.bind_dn, "password": secret_of(spec.password_file), "authentication": ldap3.SIMPLE}
        elif own:
            how = {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}
        connection = ldap3.Connection(
            server,
            client_strategy=ldap3.SYNC,  # SAFE_SYNC copies every answer, for half of the time
            receive_timeout=spec.timeout_s,
            read_only=read_only,
            check_names=False,
            return_empty_attributes=False,
            **how,
        )
        connection.strategy.decode_response_fast = partial(_decoded, connection.strategy.decode_response_fast)
    except LDAPException as error:
        raise SourceError(f"{spec.url}: {error}") from error
    try:
        connection.bind()
        _accepted(spec.url, connection.result)
    except (LDAPException, SourceError) as error:
        if connection.socket is not None:
            connection.socket.close()  # ldap3 forgets it
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{spec.url}: {error}", again=True) from error
    return connection


def pages(spec: Ldap, filter_: str, attributes: list[str]) -> Iterator[list[Entry]]:
    """All that the filter finds below the base, a page at a time (RFC 2696). Raises SourceError."""
    connection = connected(spec)
    try:
        cookie: bytes | None = None
        while cookie != b"":
            connection.search(spec.base, filter_, attributes=attributes, paged_size=spec.page_size, paged_cookie=cookie)
            result = connection.result
            _accepted(f"{spec.url} {spec.base}", result)
            yield [(one["dn"], one["octets"]) for one in connection.response if one["type"] == "searchResEntry"]
            control = result.get("controls", {}).get("1.2.840.113556.1.4.319")
            cookie = control["value"]["cookie"] if control else b""
    except LDAPInvalidFilterError as error:
        raise SourceError(f"{filter_!r} is not a filter: correct it") from error
    except LDAPException as error:
        raise SourceError(f"{spec.url}: the connection was cut: {error}", again=True) from error
    finally:
        # A directory that is gone cannot be told that we go.
        connection.strategy.close()


def _decoded(decode: Callable[[Mapping[str, Any]], dict[str, Any]], message: Mapping[str, Any]) -> dict[str, Any]:
    """What ldap3 makes of a message of the server; of an entry (RFC 4511 §4.5.2) without its texts beside its octets,
    which would take a third of the time of a reading."""
    if message["protocolOp"] != 4:
        return decode(message)
    dn, attributes = message["payload"]
    octets = {
        name[3].decode("ascii", "backslashreplace").lower(): [value[3] for value in values[3]]
        for _, _, _, (name, values) in attributes[3]
    }
    return {"type": "searchResEntry", "dn": dn[3].decode("utf-8", "backslashreplace"), "octets": octets}


def write(connection: Any, operation: str, dn: str, *values: Any, allowed: int = 0) -> None:
    """``add``, ``modify`` or ``delete``; the result code ``allowed`` is as good as success. Raises SourceError."""
    try:
        getattr(connection, operation)(dn, *values)
    except LDAPException as error:
        raise SourceError(f"{operation} {dn}: {error}", again=True) from error
    if connection.result["result"] != allowed:
        _accepted(f"{operation} {dn}", connection.result)


def _accepted(where: str, result: Mapping[str, Any]) -> None:
    code = result["result"]
    if code:
        told = _REFUSALS.get(code) or f"{result.get('description')} {result.get('message')}"
        raise SourceError(f"{where}: {told}", again=code in _AGAIN)
