"""Which chunks may be among the best, by what is in memory: of these alone vectors are read."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from copilot_domain.context.search.fusion import fuse
from copilot_domain.context.segments.codes import UNKNOWN
from copilot_domain.context.segments.types import Numbers

# A vector that is read costs some 10 µs, and those further down change nothing. By meaning a few are enough: one in
# two thousand of the true best ten was further down (ADR 24).
_BY_WORDS: Final = 100
_BY_MEANING: Final = 64
_LIMIT_SHARE: Final = 6  # times the limit, where that is more
_MOST: Final = 2_000
_CHECKED: Final = 64  # of both together
_CHECKED_SHARE: Final = 4  # times the limit, where that is more
_VECTOR_WEIGHT: Final = 0.4  # between what the first and the second ranking give it (fusion.py)
_BLOCK: Final = 32


@dataclass(frozen=True, slots=True)
class Scores:
    """Of all chunks, by place. `by_words`: BM25, 0 without any of the words. `by_meaning`: nearness, UNKNOWN where
    that is not known; None where the question has no vector."""

    by_words: Numbers
    by_meaning: Numbers | None = None


def likely_places(scores: Scores, limit: int, breadth: int = 1, allowed: Numbers | None = None) -> tuple[Numbers, bool]:
    """The places, rising, of chunks that may be among the best `limit`, and whether no others can be found.

    `breadth`: look at so many times as many. `allowed`: of these places only, which rise.
    """
    least = min(_LIMIT_SHARE * limit * breadth, _MOST)
    by_words = highest(scores.by_words, max(_BY_WORDS, least), above=0, allowed=allowed)
    is_whole = len(by_words) < max(_BY_WORDS, least)
    if scores.by_meaning is None:
        return np.sort(by_words), is_whole
    by_meaning = highest(scores.by_meaning, max(_BY_MEANING, least), above=UNKNOWN, allowed=allowed)
    is_whole = is_whole and len(by_meaning) < max(_BY_MEANING, least)
    return np.unique(np.concatenate((by_words, by_meaning))), is_whole


def promising_places(scores: Scores, likely: Numbers, limit: int, breadth: int = 1) -> Numbers:
    """Of the likely places those that may be ranked high by both: vectors are read of few."""
    count = max(_CHECKED, _CHECKED_SHARE * limit * breadth)
    if scores.by_meaning is None or len(likely) <= count:
        return likely
    near = scores.by_meaning[likely]
    if (near == UNKNOWN).any():
        return likely
    both = fuse(near, scores.by_words[likely], vector_weight=_VECTOR_WEIGHT)
    return np.sort(likely[np.argpartition(-both, count)[:count]])


def highest(scores: Numbers, count: int, *, above: float, allowed: Numbers | None = None) -> Numbers:
    """The places of the `count` highest scores, in no order; of all above `above` where they are fewer."""
    if allowed is not None:
        found: Numbers = allowed[highest(scores[allowed], count, above=above)]
        return found
    bound = _bound(scores, count)
    places = np.flatnonzero(scores >= bound if bound > above else scores > above)
    if len(places) <= count:
        return places
    return places[np.argpartition(-scores[places], count)[:count]]


def _bound(scores: Numbers, count: int) -> float:
    """What the `count`-th highest is not below. That of the maxima of blocks is as good as any other, and partitioning
    those few takes a tenth of the time."""
    blocks = len(scores) // _BLOCK
    if blocks <= count:
        return -np.inf
    maxima = scores[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
    return float(np.partition(maxima, blocks - count)[blocks - count])
