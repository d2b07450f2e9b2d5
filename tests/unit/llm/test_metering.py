from contextlib import aclosing

import pytest
from prometheus_client import CollectorRegistry

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.llm import TextDelta
from copilot_common.llm.metering import LlmMetrics, Metered
from unit.llm.fakes import ANSWER, REQUEST, FakeModel, failure


def metered(model: FakeModel) -> tuple[Metered, CollectorRegistry]:
    registry = CollectorRegistry()
    return Metered(model, LlmMetrics(registry), {"m": "alias-of-m"}), registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"provider": "fake", "model": "alias-of-m"} | labels)


async def test_a_completed_call_counts_itself_its_tokens_and_its_times() -> None:
    model, registry = metered(FakeModel(ANSWER))
    await model.complete(REQUEST)
    assert value(registry, "llm_requests_total", outcome="completed") == 1
    kinds = ("input", "output", "cached", "reasoning")
    assert [value(registry, "llm_tokens_used_total", kind=kind) for kind in kinds] == [3, 2, 1, 1]
    assert value(registry, "llm_request_duration_seconds_count") == 1
    assert value(registry, "llm_time_to_first_token_seconds_count") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(failure(), "failed"), (ProviderTimeout("no", provider="fake", retryable=True), "timeout")],
)
async def test_a_failure_is_counted_by_its_kind(error: ProviderError, outcome: str) -> None:
    model, registry = metered(FakeModel([error]))
    with pytest.raises(ProviderError):
        await model.complete(REQUEST)
    assert value(registry, "llm_requests_total", outcome=outcome) == 1
    assert value(registry, "llm_time_to_first_token_seconds_count") is None


async def test_a_stream_closed_early_counts_as_cancelled() -> None:
    model, registry = metered(FakeModel([TextDelta("hi"), None]))
    async with aclosing(model.stream(REQUEST)) as events:
        await anext(events)
    assert value(registry, "llm_requests_total", outcome="cancelled") == 1


async def test_a_model_that_is_not_listed_has_no_label_of_its_own() -> None:
    registry = CollectorRegistry()
    await Metered(FakeModel(ANSWER), LlmMetrics(registry), {}).complete(REQUEST)
    assert value(registry, "llm_requests_total", outcome="completed", model="other") == 1
