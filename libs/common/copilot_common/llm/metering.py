"""What model calls cost in time and tokens, as Prometheus metrics."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from copilot_common.base.errors import ProviderTimeout
from copilot_common.llm.collecting import collect
from copilot_common.llm.protocol import ChatModel
from copilot_common.llm.spans import gen_ai_call
from copilot_common.llm.types import ChatEvents, ChatRequest, Completion, Finished, TokenUsage
from copilot_common.platform.trace import Attributes, Span, begin_span

Outcome = Literal["completed", "failed", "timeout", "cancelled"]

# A whole answer takes from an instant (local) to minutes; a first token from milliseconds to TIMEOUT_MS.
_DURATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
_FIRST_TOKEN_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30)
_OTHER = "other"


class LlmMetrics:
    """One per CollectorRegistry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "llm_requests_total", "Model calls", ["provider", "model", "outcome"], registry=registry
        )
        self.tokens = Counter(
            "llm_tokens_used_total",
            "Tokens; input includes cached, output includes reasoning",
            ["provider", "model", "kind"],
            registry=registry,
        )
        self.duration = Histogram(
            "llm_request_duration_seconds",
            "From the call to the end of the answer",
            ["provider", "model"],
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self.first_token = Histogram(
            "llm_time_to_first_token_seconds",
            "From the call to the first event",
            ["provider", "model"],
            buckets=_FIRST_TOKEN_BUCKETS,
            registry=registry,
        )


class Metered:
    """A ChatModel that counts another one's calls.

    `aliases` maps the provider's model ids to the names of models.toml; any other id counts as `other`, because callers
    choose ids freely and a label must be bounded.
    """

    def __init__(self, model: ChatModel, metrics: LlmMetrics, aliases: Mapping[str, str]) -> None:
        self._model, self._aliases = model, aliases
        self._metrics = metrics

    @property
    def provider(self) -> str:
        return self._model.provider

    async def complete(self, request: ChatRequest) -> Completion:
        return await collect(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvents, None]:
        labels = (self.provider, self._aliases.get(request.model, _OTHER))
        started = time.perf_counter()
        outcome: Outcome = "failed"
        is_first = True
        with self._begin_span(request) as span:
            try:
                async with aclosing(self._model.stream(request)) as batches:
                    async for batch in batches:
                        if is_first:
                            is_first = False
                            self._metrics.first_token.labels(*labels).observe(time.perf_counter() - started)
                            span.note("first token")
                        if isinstance(last := batch[-1], Finished):
                            outcome = "completed"
                            self._count_tokens(labels, last.usage)
                            span.set(_span_usage(last.usage))
                            span.end()
                        yield batch
            except ProviderTimeout:
                outcome = "timeout"
                raise
            except (asyncio.CancelledError, GeneratorExit):
                outcome = outcome if outcome == "completed" else "cancelled"
                raise
            finally:
                self._metrics.requests.labels(*labels, outcome).inc()
                self._metrics.duration.labels(*labels).observe(time.perf_counter() - started)

    async def aclose(self) -> None:
        await self._model.aclose()

    def _begin_span(self, request: ChatRequest) -> Span:
        model = request.model if request.model in self._aliases else _OTHER
        return begin_span(*gen_ai_call("chat", self.provider, model))

    def _count_tokens(self, labels: tuple[str, str], usage: TokenUsage) -> None:
        counts = {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cached": usage.cached_tokens,
            "reasoning": usage.reasoning_tokens,
        }
        for kind, count in counts.items():
            if count:
                self._metrics.tokens.labels(*labels, kind).inc(count)


def _span_usage(usage: TokenUsage) -> Attributes:
    return {"gen_ai.usage.input_tokens": usage.input_tokens, "gen_ai.usage.output_tokens": usage.output_tokens}
