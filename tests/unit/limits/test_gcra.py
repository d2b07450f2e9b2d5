"""GCRA against a token bucket that counts tokens."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from copilot_common.limits.gcra import Bucket, Limit, allowance
from copilot_common.limits.local import LocalBuckets


class TokenBucket:
    """The reference: `tokens` of at most `limit`, one more every interval."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.tokens = Fraction(limit.requests)
        self.seen_us = 0

    def refill(self, now_us: int) -> None:
        gained = Fraction(now_us - self.seen_us, self.limit.interval_us)
        self.tokens = min(Fraction(self.limit.requests), self.tokens + gained)
        self.seen_us = now_us


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


limits = st.builds(Limit, st.integers(1, 50), st.integers(1, 100_000))
gaps_us = st.lists(st.one_of(st.just(0), st.integers(0, 200_000_000)), max_size=60)


@given(limit=limits, gaps=gaps_us)
def test_a_bucket_allows_exactly_what_a_counting_token_bucket_allows(limit: Limit, gaps: list[int]) -> None:
    clock, bucket, reference = Clock(), Bucket("b", limit), TokenBucket(limit)
    local = LocalBuckets(clock)
    reference.seen_us = clock.now_us
    for gap in gaps:
        clock.now_us += gap
        reference.refill(clock.now_us)
        decision = local.consume([bucket])
        assert decision.allowed == (reference.tokens >= 1)
        reference.tokens -= decision.allowed
        assert allowance([bucket], decision).remaining == int(reference.tokens)


@given(first=limits, second=limits, gaps=gaps_us)
def test_several_buckets_give_a_token_each_or_none(first: Limit, second: Limit, gaps: list[int]) -> None:
    clock = Clock()
    local = LocalBuckets(clock)
    buckets = [Bucket("a", first), Bucket("b", second)]
    references = [TokenBucket(first), TokenBucket(second)]
    for reference in references:
        reference.seen_us = clock.now_us
    for gap in gaps:
        clock.now_us += gap
        for reference in references:
            reference.refill(clock.now_us)
        decision = local.consume(buckets)
        assert decision.allowed == all(reference.tokens >= 1 for reference in references)
        for reference in references:
            reference.tokens -= decision.allowed


@given(limit=limits, gaps=gaps_us)
def test_who_waits_retry_after_is_allowed_and_who_waits_a_second_less_is_not(limit: Limit, gaps: list[int]) -> None:
    clock, bucket = Clock(), Bucket("b", limit)
    local = LocalBuckets(clock)
    for gap in gaps:
        clock.now_us += gap
        decision = local.consume([bucket])
        if decision.allowed:
            continue
        wait = allowance([bucket], decision).retry_after_seconds
        assert wait >= 1
        clock.now_us += (wait - 1) * 1_000_000
        assert wait == 1 or not local.consume([bucket]).allowed
        clock.now_us += 1_000_000
        assert local.consume([bucket]).allowed


def test_reset_is_the_second_at_which_the_bucket_is_full_again() -> None:
    clock, bucket = Clock(), Bucket("b", Limit(10, 60_000))
    local = LocalBuckets(clock)
    decisions = [local.consume([bucket]) for _ in range(3)]
    assert allowance([bucket], decisions[-1]).reset_at == 1_700_000_000 + 18


def test_a_refusal_speaks_of_the_bucket_that_refused() -> None:
    narrow, wide = Bucket("narrow", Limit(1, 60_000)), Bucket("wide", Limit(100, 1_000))
    local = LocalBuckets(Clock())
    local.consume([narrow, wide])
    refused = allowance([narrow, wide], local.consume([narrow, wide]))
    assert (refused.allowed, refused.limit, refused.remaining, refused.retry_after_seconds) == (False, 1, 0, 60)


def test_given_back_tokens_can_be_taken_again_and_never_exceed_the_limit() -> None:
    bucket = Bucket("b", Limit(2, 60_000))
    local = LocalBuckets(Clock())
    local.consume([bucket])
    for _ in range(5):
        local.give_back(bucket)
    assert [local.consume([bucket]).allowed for _ in range(3)] == [True, True, False]


def test_the_local_limiter_forgets_the_longest_unused_bucket_rather_than_grow() -> None:
    local = LocalBuckets(Clock(), max_buckets=3)
    for name in "abcad":
        local.consume([Bucket(name, Limit(2, 60_000))])
    assert len(local) == 3
    assert not local.consume([Bucket("a", Limit(2, 60_000))]).allowed
    assert [local.consume([Bucket("b", Limit(1, 60_000))]).allowed for _ in range(2)] == [True, False]
