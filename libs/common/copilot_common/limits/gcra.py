"""The generic cell rate algorithm: a token bucket kept as one number.

A bucket holds `limit` tokens and gains one every `window / limit`. Instead of tokens it keeps the time at which it will
be full again (in the literature TAT, theoretical arrival time): each request moves it on by one interval, and may do so
as long as it stays within one window from now. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm

Times are whole microseconds, so that Lua's doubles (exact to 2^53) and Python's integers decide alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`requests` at once, refilled evenly over `window_ms`."""

    requests: int
    window_ms: int

    @property
    def interval_us(self) -> int:
        return max(1, self.window_ms * 1_000 // self.requests)

    @property
    def capacity_us(self) -> int:
        return self.interval_us * self.requests

    def times(self, factor: int) -> "Limit":
        return Limit(self.requests * factor, self.window_ms)


@dataclass(frozen=True, slots=True)
class Bucket:
    """`key` names it in Redis. Buckets that are consumed together share the key's {hash tag}."""

    key: str
    limit: Limit


@dataclass(frozen=True, slots=True)
class Allowance:
    """`reset_at` is the epoch second at which the bucket is full again; `retry_after_seconds` is 0 when allowed."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: int
    retry_after_seconds: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one request: when each of its buckets will be full, after it was allowed or because it was not."""

    allowed: bool
    now_us: int
    full_at_us: tuple[int, ...]


def decide(buckets: Sequence[Bucket], full_at_us: Sequence[int], now_us: int) -> Decision:
    """One request against all of its buckets: it takes a token from each, or from none. `gcra.lua` does the same."""
    current = [max(full_at, now_us) for full_at in full_at_us]
    taken = [full_at + bucket.limit.interval_us for bucket, full_at in zip(buckets, current, strict=True)]
    allowed = all(full_at - now_us <= bucket.limit.capacity_us for bucket, full_at in zip(buckets, taken, strict=True))
    return Decision(allowed, now_us, tuple(taken if allowed else current))


def allowance(buckets: Sequence[Bucket], decision: Decision) -> Allowance:
    """As the tightest bucket sees it: when refused, the one to wait longest for."""
    views = [
        _view(bucket.limit, full_at, decision) for bucket, full_at in zip(buckets, decision.full_at_us, strict=True)
    ]
    return min(views, key=lambda view: (-view.retry_after_seconds, view.remaining))


def _view(limit: Limit, full_at_us: int, decision: Decision) -> Allowance:
    used_us = full_at_us - decision.now_us
    wait_us = 0 if decision.allowed else max(0, used_us + limit.interval_us - limit.capacity_us)
    return Allowance(
        allowed=decision.allowed,
        limit=limit.requests,
        remaining=max(0, (limit.capacity_us - used_us) // limit.interval_us),
        reset_at=_seconds_up(full_at_us),
        retry_after_seconds=_seconds_up(wait_us),
    )


def _seconds_up(microseconds: int) -> int:
    return -(-microseconds // _SECOND_US)
