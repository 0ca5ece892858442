"""The only file that knows python-ldap: the same pages as `ldap3_client`, some five times faster. Installed apart, as
it is built from C: ``pip install mssante[python-ldap]``.

What must always hold: as in `ldap3_client`.
"""

from collections.abc import Iterator

from annuaire.ldap3_client import Entry
from annuaire.source import Ldap, SourceError, secret_of

try:
    import ldap
    from ldap.controls import SimplePagedResultsControl
except ImportError as error:
    raise SourceError(
        "python-ldap is not installed: pip install mssante[python-ldap], or set library = 'ldap3'"
    ) from error


def pages(spec: Ldap, filter_: str, attributes: list[str]) -> Iterator[list[Entry]]:
    """All that the filter finds below the base, a page at a time (RFC 2696). Raises SourceError."""
    connection = ldap.initialize(spec.url, bytes_mode=False)
    connection.set_option(ldap.OPT_REFERRALS, 0)
    connection.set_option(ldap.OPT_NETWORK_TIMEOUT, spec.timeout_s)
    connection.set_option(ldap.OPT_TIMEOUT, spec.timeout_s)
    secure = spec.url.startswith("ldaps://")
    own = bool(spec.certificate) and secure
    if secure:
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        if spec.roots:
            connection.set_option(ldap.OPT_X_TLS_CACERTFILE, spec.roots)
        if own:
            connection.set_option(ldap.OPT_X_TLS_CERTFILE, spec.certificate)
            connection.set_option(ldap.OPT_X_TLS_KEYFILE, spec.key)
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    control = SimplePagedResultsControl(True, size=spec.page_size, cookie="")
    try:
        if spec.bind_dn:
            connection.simple_bind_s(spec.bind_dn, secret_of(spec.password_file))
        elif own:
            connection.sasl_external_bind_s()
        while True:
            message = connection.search_ext(spec.base, ldap.SCOPE_SUBTREE, filter_, attributes, serverctrls=[control])
            _, found, _, controls = connection.result3(message, timeout=spec.timeout_s)
            yield [
                (dn, {name.lower(): values for name, values in entry.items()}) for dn, entry in found if dn is not None
            ]
            cookies = [one.cookie for one in controls if one.controlType == SimplePagedResultsControl.controlType]
            if not cookies or not cookies[0]:
                return
            control.cookie = cookies[0]
    except ldap.NO_SUCH_OBJECT as error:
        raise SourceError(f"{spec.url} {spec.base}: the base does not exist there: correct it") from error
    except ldap.INVALID_CREDENTIALS as error:
        raise SourceError(f"{spec.url}: the sign-in is refused: correct bind_dn and its password") from error
    except ldap.FILTER_ERROR as error:
        raise SourceError(f"{filter_!r} is not a filter: correct it") from error
    except (ldap.SERVER_DOWN, ldap.TIMEOUT, ldap.BUSY, ldap.UNAVAILABLE, ldap.CONNECT_ERROR) as error:
        raise SourceError(f"{spec.url}: the connection was cut: {_words(error)}", again=True) from error
    except ldap.LDAPError as error:
        raise SourceError(f"{spec.url}: {_words(error)}") from error
    finally:
        connection.unbind_ext()


def _words(error: Exception) -> str:
    told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return f"{told.get('desc', type(error).__name__)} {told.get('info', '')}".strip()
