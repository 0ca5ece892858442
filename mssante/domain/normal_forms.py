"""Unicode's normal forms (UAX #15) of what strangers write.

What must always hold: the cost is linear in the length of a text. Python sorts the marks that follow a letter by
insertion: the square of their number, with every thread of the process waiting.
"""

import re
import unicodedata
from typing import Final, Literal

MOST_MARKS: Final = 30
"""Marks that may follow each other: more than any language has (UAX #15 §13, Stream-Safe Text Format)."""

# Marks begin at U+0300. The first character apart: so `re` looks for it by itself, a tenth of the time.
_MANY: Final = re.compile(rf"[\u0300-\U0010ffff][\u0300-\U0010ffff]{{{MOST_MARKS},}}")


def normalized(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """The text in this form. Marks after the thirtieth in a row are left out."""
    return text if text.isascii() else unicodedata.normalize(form, _MANY.sub(_thinned, text))


def _thinned(run: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in run[0]:
        # Some are marks only once they are decomposed.
        marks = marks + 1 if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)
