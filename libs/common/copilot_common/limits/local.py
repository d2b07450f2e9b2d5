"""Buckets of this process alone: what is left when Redis is away."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import time_ns

from copilot_common.limits.gcra import Bucket, Decision, decide

_MAX_BUCKETS = 50_000  # about 10 MB; beyond it the one not used for longest is forgotten, and so full again


def wall_clock_us() -> int:
    return time_ns() // 1_000


class LocalBuckets:
    def __init__(self, now_us: Callable[[], int] = wall_clock_us, *, max_buckets: int = _MAX_BUCKETS) -> None:
        self._now_us = now_us
        self._max_buckets = max_buckets
        self._full_at_us: OrderedDict[str, int] = OrderedDict()

    def consume(self, buckets: Sequence[Bucket]) -> Decision:
        decision = decide(buckets, [self._full_at_us.get(bucket.key, 0) for bucket in buckets], self._now_us())
        if decision.allowed:
            for bucket, full_at in zip(buckets, decision.full_at_us, strict=True):
                self._keep(bucket.key, full_at)
        return decision

    def give_back(self, bucket: Bucket) -> None:
        if bucket.key in self._full_at_us:
            self._full_at_us[bucket.key] -= bucket.limit.interval_us

    def refill(self, bucket: Bucket) -> None:
        self._full_at_us.pop(bucket.key, None)

    def __len__(self) -> int:
        return len(self._full_at_us)

    def _keep(self, key: str, full_at_us: int) -> None:
        self._full_at_us[key] = full_at_us
        self._full_at_us.move_to_end(key)
        while len(self._full_at_us) > self._max_buckets:
            self._full_at_us.popitem(last=False)
