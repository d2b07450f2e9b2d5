"""Vectors without a model: each word has a few directions of its own, so that texts with common words are near."""

import hashlib
import re
from functools import lru_cache

_WORD = re.compile(r"\w+")
_DIRECTIONS = 4  # of a word: so few that a word costs microseconds, so many that two words rarely share them all


def embed(text: str, dimensions: int) -> list[float]:
    """Of a length that grows with the text: whoever wants unit vectors must make them so."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()):
        for place, sign in _directions(word, dimensions):
            vector[place] += sign
    return vector


@lru_cache(maxsize=65_536)
def _directions(word: str, dimensions: int) -> tuple[tuple[int, float], ...]:
    digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=4 * _DIRECTIONS).digest()
    numbers = (int.from_bytes(digest[at : at + 4], "little") for at in range(0, len(digest), 4))
    return tuple((number % dimensions, 1.0 if number & 0x8000_0000 else -1.0) for number in numbers)
