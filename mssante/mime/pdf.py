"""The text of a PDF file, read by pypdf in a process of its own.

What must always hold: a hostile file costs `SECONDS` of one core and `MEMORY` octets at most, and takes no part of the
operator with it; the child knows no environment and no secret. What cannot be read within these limits has no text.

This file is the child too: octets of the PDF come on its standard input, UTF-8 leaves on its standard output.
"""

import io
import resource
import subprocess
import sys
from typing import Final

PAGES: Final = 100
SECONDS: Final = 10
MEMORY: Final = 768 * 1024 * 1024
LETTERS: Final = 1_000_000


def pdf_text(octets: bytes) -> str:
    """The text of the first `PAGES` pages, `LETTERS` at most. Blocks."""
    command = [sys.executable, "-I", "-m", "mssante.mime.pdf"]
    try:
        done = subprocess.run(command, input=octets, capture_output=True, timeout=2 * SECONDS, env={}, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _child() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from pypdf import PdfReader

    left = LETTERS
    for page in PdfReader(io.BytesIO(sys.stdin.buffer.read())).pages[:PAGES]:
        text = page.extract_text()[:left]
        sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
        left -= len(text)
        if left <= 0:
            break


if __name__ == "__main__":
    _child()
