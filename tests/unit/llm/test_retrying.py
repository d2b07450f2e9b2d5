import asyncio
from contextlib import aclosing

import pytest

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.llm import ChatEvent, Finished, TextDelta, TokenUsage
from copilot_common.llm.retrying import Retrying, RetryPolicy
from unit.llm.fakes import ANSWER, REQUEST, FakeModel, FakeTime, failure


def retrying(
    model: FakeModel, time: FakeTime, *, retries: int = 3, timeout: float = 30.0, stall: float = 30.0
) -> Retrying:
    """Its jitter always picks the longest pause."""
    policy = RetryPolicy(retries, timeout, stall)
    return Retrying(model, policy, clock=time.clock, sleep=time.sleep, jitter=lambda low, high: high)


async def test_a_failure_before_the_first_event_is_tried_again() -> None:
    model, time = FakeModel([failure()], [failure()], ANSWER), FakeTime()
    assert (await retrying(model, time).complete(REQUEST)).text == "hi"
    assert model.calls == 3


async def test_pauses_grow_exponentially_up_to_a_bound() -> None:
    model, time = FakeModel(*[[failure()]] * 8), FakeTime()
    with pytest.raises(ProviderError):
        await retrying(model, time, retries=7, timeout=100).complete(REQUEST)
    assert time.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_the_retries_are_counted() -> None:
    model, time = FakeModel(*[[failure()]] * 5), FakeTime()
    with pytest.raises(ProviderError):
        await retrying(model, time, retries=2).complete(REQUEST)
    assert model.calls == 3


async def test_without_retries_the_first_failure_is_the_answer() -> None:
    model, time = FakeModel([failure()]), FakeTime()
    with pytest.raises(ProviderError):
        await retrying(model, time, retries=0).complete(REQUEST)
    assert time.pauses == []


async def test_retry_after_replaces_the_pause() -> None:
    model, time = FakeModel([failure(retry_after=12)], ANSWER), FakeTime()
    await retrying(model, time).complete(REQUEST)
    assert time.pauses == [12]


async def test_a_retry_after_beyond_the_deadline_fails_at_once_with_the_providers_error() -> None:
    wanted = failure(retry_after=31)
    model, time = FakeModel([wanted], ANSWER), FakeTime()
    with pytest.raises(ProviderError) as caught:
        await retrying(model, time, timeout=30).complete(REQUEST)
    assert caught.value is wanted
    assert time.pauses == []


async def test_the_deadline_covers_all_attempts() -> None:
    model, time = FakeModel(*[[failure(retry_after=4)]] * 5), FakeTime()
    with pytest.raises(ProviderError):
        await retrying(model, time, retries=5, timeout=10).complete(REQUEST)
    assert time.pauses == [4, 4]


async def test_what_is_not_retryable_is_not_retried() -> None:
    model, time = FakeModel([failure(retryable=False)], ANSWER), FakeTime()
    with pytest.raises(ProviderError):
        await retrying(model, time).complete(REQUEST)
    assert model.calls == 1


async def test_nothing_is_retried_once_an_event_was_seen() -> None:
    model, time = FakeModel([TextDelta("hi"), failure()], ANSWER), FakeTime()
    seen: list[ChatEvent] = []
    with pytest.raises(ProviderError):
        await _consume(retrying(model, time), seen)
    assert seen == [TextDelta("hi")]
    assert model.calls == 1


async def test_silence_before_the_first_event_is_a_timeout_that_closes_the_stream() -> None:
    model, time = FakeModel([None]), FakeTime()
    with pytest.raises(ProviderTimeout, match="fake sent nothing"):
        await retrying(model, time, timeout=0.01).complete(REQUEST)
    assert model.closed_streams == 1


async def test_silence_between_events_is_a_timeout_that_closes_the_stream() -> None:
    model, time = FakeModel([TextDelta("hi"), None]), FakeTime()
    with pytest.raises(ProviderTimeout, match="fake fell silent"):
        await retrying(model, time, stall=0.01).complete(REQUEST)
    assert model.closed_streams == 1


async def test_a_slow_reader_is_not_a_silent_provider() -> None:
    model, time = FakeModel([TextDelta("a"), TextDelta("b"), Finished("stop", TokenUsage())]), FakeTime()
    seen = []
    async for event in retrying(model, time, stall=0.01).stream(REQUEST):
        await asyncio.sleep(0.03)
        seen.append(event)
    assert len(seen) == 3


async def test_a_callers_cancellation_stays_a_cancellation() -> None:
    model, time = FakeModel([TextDelta("hi"), None]), FakeTime()
    first_event = asyncio.Event()

    async def consume() -> None:
        async for _ in retrying(model, time).stream(REQUEST):
            first_event.set()

    task = asyncio.create_task(consume())
    await first_event.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.closed_streams == 1


async def test_closing_the_stream_early_closes_the_models_stream() -> None:
    model, time = FakeModel([TextDelta("hi"), None]), FakeTime()
    async with aclosing(retrying(model, time).stream(REQUEST)) as events:
        await anext(events)
    assert model.closed_streams == 1


async def _consume(model: Retrying, seen: list[ChatEvent]) -> None:
    async for batch in model.stream(REQUEST):
        seen += batch
