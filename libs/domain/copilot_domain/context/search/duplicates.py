"""Texts that are one to a reader: nine tenths of their words are the same.

Taking a text apart into words costs as much as opening it, so vectors say first whose words need no look. A text of
some length that shares nine tenths of its words with another has its direction, by any model; a short one's may turn
with a single word, but takes little to be taken apart.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Final

import numpy as np

from copilot_domain.context.segments.types import Numbers

_SAME_TENTHS: Final = 9
# Of 2 400 texts of 60 to 170 words, each with a copy that shared 0.90 to 0.98 of its words, none had a lower product
# than 0.93 with it (WordLlama; docs/retrieval.md). Of pairs among the twenty nearest to a question, fewer than one in a
# thousand have one above 0.9.
_LEAST_PRODUCT: Final = 0.9
_SHORT: Final = 400  # characters, some 60 words


class Text:
    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def is_short(self) -> bool:
        return len(self._text) < _SHORT

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(self._text.split())


class KeptTexts:
    """Each at a place: their vectors are told first, batch by batch, the texts one by one, in the same order."""

    def __init__(self) -> None:
        self._vectors: list[Numbers] = []
        self._alike: list[list[int]] = []
        self._texts: dict[int, Text] = {}

    def announce(self, vectors: Numbers) -> range:
        """The places of the texts that these are of: a row each, of length 1, or zeros for none."""
        first = len(self._alike)
        self._vectors.append(vectors)
        self._alike += _alike(vectors, np.concatenate(self._vectors))
        return range(first, len(self._alike))

    def has_one_like(self, place: int, text: Text) -> bool:
        """Among those kept before it."""
        others: Iterable[Text] = self._texts.values()
        if not text.is_short:
            others = [self._texts[one] for one in self._alike[place] if one in self._texts]
        return any(_is_same(text.words, other.words) for other in others)

    def keep(self, place: int, text: Text) -> None:
        self._texts[place] = text


def _alike(vectors: Numbers, known: Numbers) -> list[list[int]]:
    """Of each of these vectors, which are the last of the known ones, those before it whose texts may be as good as the
    same: near ones, and where one of both is none."""
    first = len(known) - len(vectors)
    is_alike: Numbers = vectors @ known.T >= _LEAST_PRODUCT
    is_none: Numbers = np.einsum("ij,ij->i", known, known) == 0
    if is_none.any():
        is_alike |= is_none
        is_alike[is_none[first:]] = True
    alike: list[list[int]] = [[] for _ in vectors]
    for row, place in np.argwhere(is_alike).tolist():
        if place < first + row:
            alike[row].append(place)
    return alike


def _is_same(one: frozenset[str], other: frozenset[str]) -> bool:
    """Ends with the first word too many that is not shared: most texts differ in most words."""
    fewer, more = sorted((one, other), key=len)
    # Nine tenths of all words are shared where shared / (both - shared) >= 9 / 10.
    needed = -(-_SAME_TENTHS * (len(fewer) + len(more)) // (10 + _SAME_TENTHS))
    may_miss = len(fewer) - needed
    for word in fewer:
        may_miss -= word not in more
        if may_miss < 0:
            return False
    return may_miss >= 0
