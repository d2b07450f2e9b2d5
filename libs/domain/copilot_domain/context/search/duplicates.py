"""Texts that are one to a reader: nine tenths of their words are the same.

Taking a text apart into words takes longer than opening it, so vectors say first whose words need a look. A single word
may turn the vector of a few: those are always compared by words.
"""

from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Direction:
    """Where a text's vector (of length 1) points, unless it has none (zeros). `products`: with the others, each at its
    `column`; None if none of them points there, too."""

    vector: Numbers
    is_known: bool
    column: int
    products: Numbers | None


@dataclass
class Text:
    text: str
    direction: Direction
    has_heading: bool
    is_unclear: bool = field(init=False)  # its vector does not tell what it is like

    def __post_init__(self) -> None:
        self.is_unclear = not self.direction.is_known or self.text.count(" ") < _FEW_SPACES

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(self.text.split())


class KeptTexts:
    """Those that are shown."""

    def __init__(self) -> None:
        self._texts: list[Text] = []
        self._unclear: list[Text] = []
        self._wholes: set[str] = set()

    def directions(self, vectors: Numbers) -> list[Direction]:
        """Of texts that come next, a row for each. Most have nothing near, among them and what is kept: then that is
        all there is to be known."""
        for column, text in enumerate(self._texts):
            text.direction.column = column
        products = vectors @ np.concatenate([*(text.direction.vector[None] for text in self._texts), vectors]).T
        are_known = (np.einsum("ij,ij->i", vectors, vectors) > 0).tolist()
        have_near = np.count_nonzero(products >= _LEAST_PRODUCT_UNDER_HEADINGS, axis=1) > 1  # itself is one
        return [
            Direction(vectors[row], are_known[row], len(self._texts) + row, products[row] if has_near else None)
            for row, has_near in enumerate(have_near.tolist())
        ]

    def has_one_like(self, text: Text) -> bool:
        if text.text in self._wholes:
            return True
        others = self._texts if text.is_unclear or text.direction.products is not None else self._unclear
        return any(_may_be_same(text, other) and _is_same(text.words, other.words) for other in others)

    def keep(self, text: Text) -> None:
        self._texts.append(text)
        if text.is_unclear:
            self._unclear.append(text)
        self._wholes.add(text.text)


def _may_be_same(one: Text, other: Text) -> bool:
    if one.is_unclear or other.is_unclear:
        return True
    under_headings = one.has_heading or other.has_heading
    least = _LEAST_PRODUCT_UNDER_HEADINGS if under_headings else _LEAST_PRODUCT
    products = one.direction.products
    return products is not None and bool(products[other.direction.column] >= least)


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
