"""What embedding costs in time and tokens, as Prometheus metrics."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.embedding.protocol import Embedded, Embedder, EmbedderSpec, Purpose
from copilot_common.llm.spans import gen_ai_call
from copilot_common.platform.trace import span

Outcome = Literal["completed", "rate_limited", "refused", "timeout", "failed", "cancelled"]

# A query takes from a millisecond (local) on, a batch of documents up to TIMEOUT_MS.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class EmbeddingMetrics:
    """One per CollectorRegistry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "embedding_requests_total",
            "Batches sent to an embedder, each attempt",
            ["provider", "model", "purpose", "outcome"],
            registry=registry,
        )
        self.tokens = Counter(
            "embedding_tokens_total",
            "Tokens that a provider counted, or that were estimated for it",
            ["provider", "model"],
            registry=registry,
        )
        self.texts = Counter("embedding_texts_total", "Texts embedded", ["provider", "model"], registry=registry)
        self.duration = Histogram(
            "embedding_request_duration_seconds",
            "One batch, one attempt",
            ["provider", "model", "purpose"],
            buckets=_BUCKETS,
            registry=registry,
        )


class Metered:
    """An Embedder that counts another one's batches. `model` is a listed name or `other`: a label must be bounded."""

    def __init__(self, embedder: Embedder, metrics: EmbeddingMetrics, *, provider: str, model: str) -> None:
        self._embedder, self._metrics = embedder, metrics
        self._labels = (provider, model)

    @property
    def spec(self) -> EmbedderSpec:
        return self._embedder.spec

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        def count(outcome: Outcome, seconds: float) -> None:
            self._metrics.requests.labels(*self._labels, purpose, outcome).inc()
            self._metrics.duration.labels(*self._labels, purpose).observe(seconds)

        with attempt(count), span(*gen_ai_call("embeddings", *self._labels)) as call:
            embedded = await self._embedder.embed(texts, purpose=purpose)
            call.set({"gen_ai.usage.input_tokens": embedded.input_tokens})
        self._metrics.tokens.labels(*self._labels).inc(embedded.input_tokens)
        self._metrics.texts.labels(*self._labels).inc(len(texts))
        return embedded

    async def load(self) -> None:
        await self._embedder.load()

    async def aclose(self) -> None:
        await self._embedder.aclose()


@contextmanager
def attempt(count: Callable[[Outcome, float], None]) -> Iterator[None]:
    """`count` is told how the attempt within ended, and after how many seconds."""
    started = time.perf_counter()
    outcome: Outcome = "failed"
    try:
        yield
        outcome = "completed"
    except ProviderError as error:
        outcome = _outcome(error)
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    finally:
        count(outcome, time.perf_counter() - started)


def _outcome(error: ProviderError) -> Outcome:
    if isinstance(error, ProviderTimeout):
        return "timeout"
    if error.status == 429:
        return "rate_limited"
    return "failed" if error.retryable else "refused"
