"""The journal taken out of the store, for an auditor or a judge: who can check it without us.

Always true here: the entries are without a gap and each carries the hash that chains it to the one before; the manifest
binds the file by its SHA-256 and is signed with the operator's certificate; nothing is overwritten, and a folder in
which something is missing has no signature.
"""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mssante.store import Conn, Store
from mssante.store.journal import Chained, chained
from tls.signing import sign_document

ENTRIES, MANIFEST, SIGNATURE = "journal.jsonl", "manifest.json", "manifest.json.p7s"


class ExportRefused(ValueError):
    """Nothing was exported; the text says why."""


def export_journal(
    store: Store,
    folder: Path,
    since_us: int,
    until_us: int,
    *,
    operator: str,
    certificate: Path,
    key: Path,
    now_us: int,
) -> dict[str, Any]:
    """Writes the three files into a new ``folder``; the manifest. Raises ExportRefused, TlsError, StoreError, OSError.

    A line of the entries is a JSON object: ``seq``, ``at``, ``at_us``, ``action``, ``actor``, ``object``, ``detail``,
    and ``hash``: SHA-256 of the hash before (of the manifest's ``previous``, for the first) followed by the JSON array
    [seq, at_us, action, actor, object, detail as text] without white space.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ExportRefused(f"{folder} exists: name another folder with --out") from None
    facts = store.read_now(_write_entries, folder / ENTRIES, since_us, until_us)
    manifest = {"operator": operator, "made": _iso(now_us), "since": _iso(since_us), "until": _iso(until_us), **facts}
    document = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    signature = sign_document(document, certificate, key)
    for name, octets in ((MANIFEST, document), (SIGNATURE, signature)):
        with (folder / name).open("xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    return manifest


def _write_entries(conn: Conn, path: Path, since_us: int, until_us: int) -> dict[str, Any]:
    digest, count = hashlib.sha256(), 0
    first = last = None
    with path.open("xb") as file:
        for one in chained(conn, since_us, until_us):
            first, last, count = first or one, one, count + 1
            line = msgspec.json.encode(_entry(one)) + b"\n"
            digest.update(line)
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return {
        "entries": count,
        "first": first.seq if first else None,
        "last": last.seq if last else None,
        "previous": first.previous.hex() if first else None,
        "sha256": digest.hexdigest(),
    }


def _entry(one: Chained) -> dict[str, Any]:
    at_us, action, actor, object_, detail = one.row
    facts = {"seq": one.seq, "at": _iso(at_us), "at_us": at_us, "action": action, "actor": actor, "object": object_}
    return {**facts, "detail": detail, "hash": one.hash.hex()}


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
