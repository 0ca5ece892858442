"""Words as people type them, and as the annuaire writes them.

What must always hold: accents, case, hyphens and punctuation never keep two words apart; two words are near when one
letter is missing, too many, another one, or changed places with its neighbour.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from mssante.domain.normal_forms import normalized

_WORD = re.compile(r"[^\W_]+")
# What decomposition leaves whole.
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l"})
SHORTEST_CORRECTED: Final = 4
"""Letters below which a word is near too many others to be corrected."""


def words_of(*texts: str) -> tuple[str, ...]:
    """The words of the texts without accents, case or punctuation: ``L'Haÿ-les-Roses`` → l, hay, les, roses."""
    text = " ".join([text if text.isascii() else _unaccented(text) for text in texts])
    return tuple(_WORD.findall(text.lower()))


@lru_cache(4096)  # professions, places and first names come again and again
def _unaccented(text: str) -> str:
    decomposed = normalized("NFKD", text.casefold()).translate(_LIGATURES)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def is_near(one: str, other: str) -> bool:
    """Whether a single slip of the keyboard makes one of the other; a word is near itself."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    return max(len(left), len(right)) <= 1 or (len(left) == 2 and left == right[::-1])
