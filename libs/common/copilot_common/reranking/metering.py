"""What reranking costs in time, as Prometheus metrics."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from copilot_common.embedding.metering import Outcome, attempt
from copilot_common.llm.spans import gen_ai_call
from copilot_common.platform.trace import span
from copilot_common.reranking.protocol import Reranker, RerankerSpec

_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2)  # up to the factory's deadline


class RerankMetrics:
    """One per CollectorRegistry. `model` is RERANK_MODEL, the only one a process has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "rerank_requests_total", "Requests to the reranker, each attempt", ["model", "outcome"], registry=registry
        )
        self.texts = Counter("rerank_texts_total", "Texts that were given a score", ["model"], registry=registry)
        self.duration = Histogram(
            "rerank_request_duration_seconds", "One attempt", ["model"], buckets=_BUCKETS, registry=registry
        )


class Metered:
    """A Reranker that counts another one's requests."""

    def __init__(self, reranker: Reranker, metrics: RerankMetrics) -> None:
        self._reranker, self._metrics = reranker, metrics

    @property
    def spec(self) -> RerankerSpec:
        return self._reranker.spec

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        with attempt(self._count), span(*gen_ai_call("rerank", "compatible", self.spec.name)):
            scores = await self._reranker.rerank(query, texts)
        self._metrics.texts.labels(self.spec.name).inc(len(texts))
        return scores

    async def aclose(self) -> None:
        await self._reranker.aclose()

    def _count(self, outcome: Outcome, seconds: float) -> None:
        self._metrics.requests.labels(self.spec.name, outcome).inc()
        self._metrics.duration.labels(self.spec.name).observe(seconds)
