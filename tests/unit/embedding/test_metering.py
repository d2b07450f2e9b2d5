import asyncio

import pytest
from prometheus_client import CollectorRegistry

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.embedding import EmbeddingMetrics
from copilot_common.embedding.metering import Metered
from unit.embedding.fakes import FakeEmbedder, failure


def metered(*faults: ProviderError) -> tuple[Metered, FakeEmbedder, CollectorRegistry]:
    registry, fake = CollectorRegistry(), FakeEmbedder(None, *faults)
    return Metered(fake, EmbeddingMetrics(registry), provider="fake", model="m"), fake, registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"provider": "fake", "model": "m"} | labels)


async def test_a_batch_counts_itself_its_texts_its_tokens_and_its_time() -> None:
    model, _, registry = metered()
    await model.embed(["a", "b"])
    assert value(registry, "embedding_requests_total", purpose="document", outcome="completed") == 1
    assert value(registry, "embedding_texts_total") == value(registry, "embedding_tokens_total") == 2
    assert value(registry, "embedding_request_duration_seconds_count", purpose="document") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (failure(status=429), "rate_limited"),
        (failure(status=401, retryable=False), "refused"),
        (failure(status=500), "failed"),
        (ProviderTimeout("no", provider="fake", retryable=True), "timeout"),
    ],
)
async def test_a_failure_is_counted_by_its_kind(error: ProviderError, outcome: str) -> None:
    model, _, registry = metered(error)
    with pytest.raises(ProviderError):
        await model.embed(["a"], purpose="query")
    assert value(registry, "embedding_requests_total", purpose="query", outcome=outcome) == 1


async def test_a_batch_that_nobody_waits_for_any_more_counts_as_cancelled() -> None:
    model, fake, registry = metered()
    fake.gate.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await model.embed(["a"])
    assert value(registry, "embedding_requests_total", purpose="document", outcome="cancelled") == 1
