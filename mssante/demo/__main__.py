"""`make demo`: plays the story in a temporary directory; exit 0 when every answer was the promised one, else 1."""

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


def main() -> int:
    """Play, and stop everything in any case."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mssante-demo-") as directory:
        story = Story(Path(directory), say)
        try:
            story.play()
        except DemoFailure as failure:
            sys.stderr.write(f"\ndemo: {failure}\n")
            return 1
        finally:
            story.close()
    say(f"\nL'histoire s'est déroulée comme promis, en {time.monotonic() - started:.0f} s.")
    return 0


sys.exit(main())
