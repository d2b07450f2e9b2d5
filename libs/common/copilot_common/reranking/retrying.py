"""Try a request again, within one deadline."""

from collections.abc import Callable, Sequence
from functools import partial

from copilot_common.embedding.retrying import try_within
from copilot_common.llm.attempts import Attempts
from copilot_common.reranking.protocol import PROVIDER, Reranker, RerankerSpec


class Retrying:
    """A Reranker that retries another one by the rules of chat models. `begin` starts a call's attempts, and with them
    its deadline: `timeout_seconds` from now."""

    def __init__(self, reranker: Reranker, *, timeout_seconds: float, begin: Callable[[], Attempts]) -> None:
        self._reranker, self._timeout_seconds, self._begin = reranker, timeout_seconds, begin

    @property
    def spec(self) -> RerankerSpec:
        return self._reranker.spec

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        call = partial(self._reranker.rerank, query, texts)
        return await try_within(self._begin(), call, PROVIDER, self._timeout_seconds)

    async def aclose(self) -> None:
        await self._reranker.aclose()
