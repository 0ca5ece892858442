"""`make demo`: plays the story in a temporary directory; exit 0 when every answer was the promised one, else 1."""

import imaplib
import smtplib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mssante.demo.operators import DemoFailure
from mssante.demo.story import Story


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def told(failure: str) -> int:
    """The story went otherwise."""
    sys.stderr.write(f"\ndemo: {failure}\n")
    return 1


def main() -> int:
    """Play, and stop everything in any case."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mssante-demo-") as directory:
        story = Story(Path(directory), say)
        try:
            story.play()
        except DemoFailure as failure:
            return told(str(failure))
        except (smtplib.SMTPException, imaplib.IMAP4.error, OSError, subprocess.SubprocessError) as failure:
            # A client's own word for an answer that it did not expect, or for none at all.
            return told(f"{type(failure).__name__}: {failure}")
        finally:
            story.close()
    say(f"\nL'histoire s'est déroulée comme promis, en {time.monotonic() - started:.0f} s.")
    return 0


sys.exit(main())
