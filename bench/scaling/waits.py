"""How long was waited, by when it began."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


class Waits:
    """Seconds. `count` things that came at a moment and waited alike are one entry."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, float, float]] = []

    def add(self, moment: float, seconds: float, count: float = 1.0) -> None:
        self._entries.append((moment, seconds, count))

    def percentiles(self, *percents: float) -> list[float]:
        """Nearest rank, of all; zeros where nothing came."""
        _, seconds, counts = self._columns()
        return _percentiles(seconds, counts, percents)

    def over_the_day(self, percent: float, *, bin_seconds: int, day_seconds: int) -> list[float]:
        """The percentile of what came within each bin."""
        moments, seconds, counts = self._columns()
        bins = (moments // bin_seconds).astype(int)
        order = np.argsort(bins, kind="stable")
        edges = np.searchsorted(bins[order], np.arange(day_seconds // bin_seconds + 1))
        parts = [order[begin:end] for begin, end in pairwise(edges)]
        return [_percentiles(seconds[part], counts[part], (percent,))[0] for part in parts]

    def _columns(self) -> tuple[Numbers, Numbers, Numbers]:
        columns = np.array(self._entries, dtype=float).reshape(-1, 3)
        return columns[:, 0], columns[:, 1], columns[:, 2]


def _percentiles(seconds: Numbers, counts: Numbers, percents: tuple[float, ...]) -> list[float]:
    if not len(seconds):
        return [0.0] * len(percents)
    order = np.argsort(seconds)
    reached = np.cumsum(counts[order])
    places = np.searchsorted(reached, np.array(percents) / 100 * reached[-1] * (1 - 1e-12))
    return [float(seconds[order[min(place, len(order) - 1)]]) for place in places]
