"""`mssante.toml` read and written: every fault at once, each with its line and what to do.

What must always hold:
- `load` returns settings that agree with each other, or raises one `ConfigError` with *every* fault found.
- `load` of what `sample` wrote gives the same settings back.
- In the file a relative path starts from the file's directory; after `load` every path is absolute.
"""

import difflib
import os
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from mssante.domain.address import AddressError, parse_address
from mssante.sections import Section
from mssante.settings import PASSWORD_VARIABLE, SERVICES, Dkim, Settings, Store
from mssante.settings_people import PatientNotices, ProSanteConnect

__all__ = ["ConfigError", "Fault", "Settings", "contradictions", "load", "sample", "sections", "settings_of"]

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*$")


class Fault(NamedTuple):
    """One thing wrong: line in the file (0 when it has none), place as `[section] key`, what to do about it."""

    line: int
    place: str
    problem: str


class ConfigError(ValueError):
    """The configuration cannot be used. `faults` has all that is wrong with it, in the order of the file."""

    def __init__(self, file: Path, faults: list[Fault]) -> None:
        self.file = file
        self.faults = sorted(faults)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One printable line a fault."""
        return [
            f"{self.file}{f':{f.line}' if f.line else ''}: {f.place + ': ' if f.place else ''}{f.problem}"
            for f in self.faults
        ]


class Setting(NamedTuple):
    """One key as the documentation shows it."""

    section: str
    key: str
    doc: str
    default: Any  # msgspec.NODEFAULT when the key is required
    type: Any


def sections() -> dict[str, type[Section]]:
    """The tables of the file by name, in order."""
    hints = get_type_hints(Settings)
    return {
        name: hints[name]
        for name in Settings.__struct_fields__
        if isinstance(hints[name], type) and issubclass(hints[name], Section)
    }


def settings_of(section: str) -> Iterator[Setting]:
    """Every key of a table with its documentation."""
    struct = sections()[section]
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        meta = [part for part in get_args(hints[field.name])[1:] if isinstance(part, msgspec.Meta)]
        text = next(part.description for part in meta if part.description)
        yield Setting(section, field.name, text, field.default, hints[field.name])


def load(file: Path, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check `file`. Raises ConfigError with every fault; `environment` defaults to the process's own."""
    file = file.absolute()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            file, [Fault(0, "", "no such file; make one with `mssante init`, or name it with -c FILE")]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(file, [Fault(0, "", f"cannot be read: {reason}")]) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        problem = f"not TOML: {str(error).partition(' (at ')[0]}; correct it, the rest was not read"
        raise ConfigError(file, [Fault(int(at[1]) if at else text.count("\n") + 1, "", problem)]) from None
    return _Reader(file, document, _line_numbers(text)).settings(os.environ if environment is None else environment)


class _Reader:
    """Turns the parsed document into settings, and gathers faults on the way."""

    def __init__(self, file: Path, document: dict[str, Any], lines: dict[tuple[str, ...], int]) -> None:
        self.file, self.document, self.lines = file, document, lines
        self.faults: list[Fault] = []

    def fault(self, section: str, key: str, problem: str) -> None:
        line = self.lines.get((section, key)) or self.lines.get((section,), 0)
        self.faults.append(Fault(line, f"[{section}] {key}".strip(), problem))

    def settings(self, environment: Mapping[str, str]) -> Settings:
        known = sections()
        for name, value in self.document.items():
            if name not in known:
                what = "section" if isinstance(value, dict) else "key"
                where = f"[{name}]" if isinstance(value, dict) else name
                self.faults.append(Fault(self.lines.get((name,), 0), where, f"unknown {what}{_nearest(name, known)}"))
        read: Any = {name: self.section(name, struct) for name, struct in known.items()}
        settings = Settings(**read, file=self.file)
        faulty = {fault.place for fault in self.faults}
        for section, key, problem in contradictions(settings):
            # A key already reported stands at its default here: what contradicts that default says nothing of the file.
            if f"[{section}] {key}" not in faulty:
                self.fault(section, key, problem)
        if self.faults:
            raise ConfigError(self.file, self.faults)
        return _with_password(settings, environment.get(PASSWORD_VARIABLE))

    def section(self, name: str, struct: type[Section]) -> Section:
        table = self.document.get(name, {})
        if not isinstance(table, dict):
            line = self.lines.get((name,), 0)
            self.faults.append(Fault(line, name, f"is a section: write [{name}] on a line of its own"))
            table = {}
        known = {setting.key: setting for setting in settings_of(name)}
        for key in table:
            if key not in known:
                self.fault(name, key, f"unknown key{_nearest(key, known)}")
        return struct(**{key: self.value(setting, table) for key, setting in known.items()})

    def value(self, setting: Setting, table: dict[str, Any]) -> Any:
        """The key's value, or its default when it is missing or faulty."""
        optional_path = type(None) in get_args(get_args(setting.type)[0])
        if setting.key in table:
            if optional_path and table[setting.key] == "":
                return None
            try:
                return msgspec.convert(table[setting.key], setting.type, dec_hook=self.path)
            except msgspec.ValidationError as error:
                self.fault(setting.section, setting.key, f"{_plain(str(error))}: {setting.doc}")
        elif setting.default is msgspec.NODEFAULT:
            self.fault(setting.section, setting.key, f"is missing: {setting.doc}")
        default = "" if setting.default is msgspec.NODEFAULT else setting.default
        return self.file.parent / default if isinstance(default, Path) else default

    def path(self, _wanted: type, value: Any) -> Path:
        if not isinstance(value, str) or not value:
            raise msgspec.ValidationError("expected the path of a file")
        return self.file.parent / value


def contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(section, key, problem) for every two settings that cannot both be meant, and every value that cannot work."""
    operator, listen = settings.operator, settings.listen
    if not operator.name.strip() or not operator.name.isprintable():
        yield "operator", "name", "must be printable text"
    for key in ("domains", "patient_domains"):
        for domain in getattr(operator, key):
            if not _HOSTNAME.match(domain) or "." not in domain:
                yield "operator", key, f"{domain!r} is not a domain: lower-case letters, digits, hyphens and dots"
    if not _HOSTNAME.match(operator.hostname):
        yield (
            "operator",
            "hostname",
            f"{operator.hostname!r} is not a host name: lower-case letters, digits, hyphens and dots",
        )
    if not settings.own_domains:
        yield "operator", "domains", "no domain is hosted: name one here, or a patient_domain"
    if operator.patient_domain and operator.patient_domain not in operator.patient_domains:
        yield "operator", "patient_domain", f"{operator.patient_domain!r} is not among patient_domains: add it there"
    for domain in sorted(set(operator.domains) & set(operator.patient_domains)):
        yield "operator", "domains", f"{domain!r} is also a citizens' domain: name it in one place only"
    if operator.postmaster and not _is_address_in(operator.postmaster, settings.own_domains):
        yield "operator", "postmaster", f"{operator.postmaster!r} is not an address in one of the domains hosted here"
    ports: dict[int, str] = {}
    for key in SERVICES:
        port: int = getattr(listen, key)
        if port and port in ports:
            yield "listen", key, f"port {port} is also that of {ports[port]}: choose another, or 0 to switch it off"
        ports.setdefault(port, key)
    if set(ports) == {0}:
        yield "listen", "", "every port is 0: nothing would run"
    yield from _store_faults(settings.store)
    life = settings.life_cycle
    months = (*life.warning_months, life.closing_months)
    if life.closing_months and (list(months) != sorted(set(months)) or months[0] < 1):
        yield "life_cycle", "warning_months", f"must rise, from 1 on, and stay below closing_months ({months[-1]})"
    if settings.smtp.max_size_patient > settings.smtp.max_size:
        yield "smtp", "max_size_patient", f"is above max_size ({settings.smtp.max_size})"
    if not settings.queue.schedule_s:
        yield "queue", "schedule_s", "needs at least one number of seconds"
    elif settings.queue.schedule_s[0] > settings.queue.lifetime_hours * 3600:
        yield "queue", "schedule_s", "the first new attempt would come after lifetime_hours"
    if settings.queue.connections_per_destination > settings.queue.connections:
        yield "queue", "connections_per_destination", f"is above connections ({settings.queue.connections})"
    yield from _dkim_faults(settings.dkim)
    yield from _fetching_faults(settings)
    yield from _patient_notice_faults(settings.patient_notices)
    yield from _annuaire_faults(settings)
    if settings.dns.server and not _is_host_and_port(settings.dns.server):
        yield "dns", "server", f"{settings.dns.server!r} is not host:port, e.g. 127.0.0.1:53"
    yield from _connect_faults(settings.pro_sante_connect)
    antivirus = settings.antivirus.socket
    if antivirus and not antivirus.startswith("/") and not _is_host_and_port(antivirus):
        yield "antivirus", "socket", f"{antivirus!r} is neither /path/of/a/socket nor host:port, e.g. 127.0.0.1:3310"


def _is_address_in(text: str, domains: tuple[str, ...]) -> bool:
    try:
        return parse_address(text).domain in domains
    except AddressError:
        return False


def _is_host_and_port(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _dkim_faults(dkim: Dkim) -> Iterator[tuple[str, str, str]]:
    if not _HOSTNAME.match(dkim.selector):
        yield "dkim", "selector", f"{dkim.selector!r} cannot be a name in the DNS"
    selectors = [dkim.selector, *(path.stem for path in dkim.other_keys)]
    for selector in selectors[1:]:
        if not _HOSTNAME.match(selector):
            yield "dkim", "other_keys", f"{selector!r}, the file's name, cannot be a name in the DNS: rename the file"
        elif selectors.count(selector) > 1:
            yield "dkim", "other_keys", f"{selector!r} names two keys: rename the file"
    if dkim.on_failure == "refuse" and not dkim.verify:
        yield "dkim", "on_failure", "refuses nothing while verify is false"


def _connect_faults(connect: ProSanteConnect) -> Iterator[tuple[str, str, str]]:
    if not connect.issuer:
        return
    from espace_confiance.fetch import url_fault

    for key, url in (("issuer", connect.issuer), ("discovery", connect.discovery or connect.issuer)):
        if fault := url_fault(url):
            yield "pro_sante_connect", key, f"{url!r}: {fault}"
    if not connect.audiences:
        yield "pro_sante_connect", "audiences", 'names no software: its client ids, or ["*"] for all that there is'
    if connect.check == "introspection":
        for key in ("client_id", "client_secret_file"):
            if not getattr(connect, key):
                yield "pro_sante_connect", key, "is needed for introspection"


def _patient_notice_faults(notices: PatientNotices) -> Iterator[tuple[str, str, str]]:
    if not notices.host:
        return
    try:
        usable = str(parse_address(notices.sender)).isascii()
    except AddressError:
        usable = False
    if not usable:
        yield "patient_notices", "sender", f"{notices.sender!r} is not an e-mail address in ASCII"
    if not notices.link.isprintable():
        yield "patient_notices", "link", "must be printable text"
    if notices.user and notices.password_file is None:
        yield "patient_notices", "password_file", "is needed to sign in as user"
    if notices.user and notices.tls == "off":
        yield "patient_notices", "tls", "off would send the password in clear"


def _fetching_faults(settings: Settings) -> Iterator[tuple[str, str, str]]:
    espace, tls = settings.espace_confiance, settings.tls
    if espace.url or tls.crl_urls:
        # Every command reads the configuration; only some need what this brings with it.
        from espace_confiance.fetch import url_fault
    if espace.url and (fault := url_fault(espace.url)):
        yield "espace_confiance", "url", f"{espace.url!r}: {fault}"
    for url in tls.crl_urls:
        if fault := url_fault(url, ("http", "https")):
            yield "tls", "crl_urls", f"{url!r}: {fault}"
    if tls.crl_urls and tls.crl is None:
        yield "tls", "crl_urls", "needs a file to keep the lists in: name it in crl"
    if espace.hard_stop_days and espace.alarm_hours > espace.hard_stop_days * 24:
        yield "espace_confiance", "alarm_hours", "the alarm would come after hard_stop_days"


def _annuaire_faults(settings: Settings) -> Iterator[tuple[str, str, str]]:
    annuaire, ldap, publication = settings.annuaire, settings.annuaire_ldap, settings.publication
    for source, section, key, url in (
        ("extraction", "annuaire", "extraction_url", annuaire.extraction_url),
        ("fhir", "annuaire", "fhir_url", annuaire.fhir_url),
        ("ldap", "annuaire_ldap", "url", ldap.url),
        ("publication", "publication", "fhir_url", publication.fhir_url if publication.to == "fhir" else "-"),
    ):
        if not url and source in (annuaire.source, "publication"):
            yield section, key, f"is needed for {source}"
        elif url not in ("", "-") and not re.match(r"(ldaps?|ldapi|https?)://[^\s]+$", url):
            yield section, key, f"{url!r} is not a URL"
    for section, key, pairs, needed in (
        ("annuaire_ldap", "attributes", ldap.attributes, ("address",)),
        ("publication", "layout", publication.layout, ("reference", "operation", "address")),
        ("publication", "report", publication.report, ("reference", "result")),
    ):
        names = [pair.partition("=") for pair in pairs]
        fields = [left if key == "attributes" else right for left, _, right in names]
        if not all(left and right for left, _, right in names):
            yield section, key, "each must be name=name"
        for field in needed:
            if field not in fields:
                yield section, key, f"does not say where {field} is"
    if len(publication.separator) != 1:
        yield "publication", "separator", "must be one character"
    if settings.carnet.url and settings.carnet.password_file is None:
        yield "carnet", "password_file", "is needed to feed the slapd of url"


def _store_faults(store: Store) -> Iterator[tuple[str, str, str]]:
    if not re.match(r"(sqlite:///.+|postgresql\+psycopg://.+)", store.database):
        yield "store", "database", "must be sqlite:///path or postgresql+psycopg://user@host/name"
    if not re.match(r"file:.+", store.contents):
        yield "store", "contents", "must be file:folder (this version keeps contents in files)"
    if (
        store.database.startswith("postgresql")
        and "?" not in store.database
        and not urlsplit(store.database).path.strip("/")
    ):
        yield "store", "database", "names no database: postgresql+psycopg://user@host/name"


def _with_password(settings: Settings, password: str | None) -> Settings:
    """The database URL with the password of the environment put in; that of a SQLite store has none."""
    url = urlsplit(settings.store.database)
    if not password or url.scheme.startswith("sqlite"):
        return settings
    user, _, host = url.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:{quote(password, safe='')}@{host}"
    store = msgspec.structs.replace(settings.store, database=urlunsplit(url._replace(netloc=netloc)))
    return msgspec.structs.replace(settings, store=store)


def _line_numbers(text: str) -> dict[tuple[str, ...], int]:
    """Where each section and key stands: (section,) and (section, key) → line from 1.

    The text is known to be TOML, so a statement ends at the first line where what began with it parses on its own.
    """
    found: dict[tuple[str, ...], int] = {}
    lines, start = text.splitlines(), 0
    table: tuple[str, ...] = ()
    while start < len(lines):
        end = start + 1
        while (statement := _statement("\n".join(lines[start:end]))) is None and end < len(lines):
            end += 1
        path = _first_path(statement or {})
        if lines[start].lstrip().startswith("["):
            table = path
            found.setdefault(path[:1], start + 1)
        else:
            found.setdefault((table + path)[:2], start + 1)
        start = end
    return found


def _statement(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _first_path(document: dict[str, Any]) -> tuple[str, ...]:
    path: tuple[str, ...] = ()
    value: Any = document
    while isinstance(value, dict) and value:
        key = next(iter(value))
        path, value = (*path, key), value[key]
    return path


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return f": did you mean {near[0]}?" if near else f": one of {', '.join(names)}"


def _plain(message: str) -> str:
    """msgspec's words for a wrong value, without its typography."""
    return message.replace("`", "").replace(" - at $", " at ").replace("Expected", "expected")


def sample(settings: Settings) -> str:
    """The commented mssante.toml that says exactly `settings`, with the paths as they stand there."""
    out = [
        "# The configuration of an MSSanté operator. `mssante doctor` checks it; the same text: docs/configuration.md"
    ]
    out.append(
        "# `#key = value` shows a default: take the # away to change it. Relative paths start where this file is."
    )
    for name, struct in sections().items():
        section = getattr(settings, name)
        out += ["", "", f"# {(struct.__doc__ or '').strip()}", f"[{name}]"]
        for setting in settings_of(name):
            value = getattr(section, setting.key)
            shown = "" if struct.installation or value != setting.default else "#"
            out += ["", *textwrap.wrap(setting.doc, 110, initial_indent="# ", subsequent_indent="# ")]
            out.append(f"{shown}{setting.key} = {toml_value(value)}")
    return "\n".join(out) + "\n"


def toml_value(value: Any) -> str:
    """A setting's value as TOML writes it."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    # JSON's escapes are those of a TOML basic string, but for DEL, which TOML wants escaped too.
    return msgspec.json.encode(str(value)).decode().replace("\x7f", "\\u007F")
