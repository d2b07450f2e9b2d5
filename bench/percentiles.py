"""Percentiles of measured values."""

from collections.abc import Sequence
from statistics import fmean

import msgspec


class Summary(msgspec.Struct, kw_only=True):
    """All zero for no values: `count` tells."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


def summarise(values: Sequence[float]) -> Summary:
    if not values:
        return Summary()
    ordered = sorted(values)
    return Summary(
        count=len(ordered),
        mean=fmean(ordered),
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        max=ordered[-1],
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least so many percent are not above. Never an invented value."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
