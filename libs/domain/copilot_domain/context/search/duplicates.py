"""Texts that are one to a reader: nine tenths of their words are the same.

Taking a text apart into words takes longer than opening it, so vectors say first whose words need a look. A single word
may turn the vector of a few: those are always compared by words.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from copilot_domain.context.segments.types import Numbers

_SAME_TENTHS: Final = 9
# What the vectors of such texts have at least as their product, measured with WordLlama (ADR 41). Headings are embedded
# with the text: the same text under others has another vector.
_LEAST_PRODUCT: Final = 0.9
_LEAST_PRODUCT_UNDER_HEADINGS: Final = 0.75
_FEW_SPACES: Final = 60


@dataclass
class Text:
    """`vector`: of length 1, zeros where there is none."""

    text: str
    vector: Numbers
    has_vector: bool
    has_heading: bool

    @cached_property
    def is_short(self) -> bool:
        return self.text.count(" ") < _FEW_SPACES

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(self.text.split())


class KeptTexts:
    """Those that are shown."""

    def __init__(self) -> None:
        self._texts: list[Text] = []
        self._wholes: set[str] = set()
        self._vectors: Numbers = np.empty((0, 0), np.float32)  # a row for each, and room for more

    def has_one_like(self, text: Text) -> bool:
        if text.text in self._wholes:
            return True
        if not self._texts:
            return False
        products = (self._vectors[: len(self._texts)] @ text.vector).tolist()
        return any(
            _may_be_same(text, other, product) and _is_same(text.words, other.words)
            for other, product in zip(self._texts, products, strict=True)
        )

    def keep(self, text: Text) -> None:
        count = len(self._texts)
        if count == len(self._vectors):
            room = np.empty((2 * count + 16, len(text.vector)), np.float32)
            if count:
                room[:count] = self._vectors
            self._vectors = room
        self._vectors[count] = text.vector
        self._texts.append(text)
        self._wholes.add(text.text)


def _may_be_same(one: Text, other: Text, product: float) -> bool:
    if one.is_short or other.is_short or not (one.has_vector and other.has_vector):
        return True
    under_headings = one.has_heading or other.has_heading
    return product >= (_LEAST_PRODUCT_UNDER_HEADINGS if under_headings else _LEAST_PRODUCT)


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
