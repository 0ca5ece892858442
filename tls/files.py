"""Writing files that others read while we write.

Invariants
- A reader sees the old file or the whole new one, never a part; after `replace_file` returns the new one is on disk.
- A private file never has wider rights than 0600, not even for a moment.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Replace a file that only its owner may read."""
    replace_file(path, data, mode=0o600)


def replace_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file whole and on disk (temporary file, fsync, rename, fsync of the directory)."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600 until all is written
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
