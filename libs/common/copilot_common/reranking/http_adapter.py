"""The `/rerank` of Cohere, Jina and Voyage, and of servers of one's own (vLLM, Infinity, TEI)."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from copilot_common.base.errors import ProviderError
from copilot_common.embedding.cutting import cut
from copilot_common.embedding.posting import JsonPoster
from copilot_common.llm.adapters.failures import unreadable_answer
from copilot_common.reranking.protocol import PROVIDER, RerankerSpec

# Some send the documents back without being asked: JSON may take six bytes for one of theirs.
_BYTES_PER_BYTE: Final = 6
_BYTES_PER_DOCUMENT: Final = 1_024
_BYTES_BESIDE: Final = 64 * 1024


class _Result(msgspec.Struct):
    """Told as `relevance_score`, by TEI as `score`."""

    index: int
    relevance_score: float | None = None
    score: float | None = None


class _Answer(msgspec.Struct):
    """Voyage calls them `data`."""

    results: list[_Result] | None = None
    data: list[_Result] | None = None


_decode = msgspec.json.Decoder(_Answer | list[_Result]).decode


class HttpReranker:
    """Sends no `top_n`: all of them return every document where none is asked for, and they name it differently.
    A server that refuses `documents` is TEI, which calls them `texts`."""

    def __init__(self, spec: RerankerSpec, *, base_url: str, api_key: str | None, timeout_seconds: float) -> None:
        self.spec = spec
        self._url = f"{base_url.rstrip('/')}/rerank"
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = JsonPoster(PROVIDER, headers, timeout_seconds=timeout_seconds)
        self._field: str | None = None

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        short = [cut(text, self.spec.max_tokens) for text in texts]
        answer = await self._ask(cut(query, self.spec.max_tokens), short)
        try:
            return _scores(_decode(answer), len(texts))
        except (msgspec.DecodeError, ValueError):
            raise unreadable_answer(PROVIDER) from None

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _ask(self, query: str, texts: list[str]) -> bytes:
        sent = sum(len(text.encode()) for text in texts)
        limit = sent * _BYTES_PER_BYTE + len(texts) * _BYTES_PER_DOCUMENT + _BYTES_BESIDE
        body = {"model": self.spec.name, "query": query}
        field = self._field or "documents"
        try:
            answer = await self._http.post(self._url, msgspec.json.encode({**body, field: texts}), max_bytes=limit)
        except ProviderError as error:
            if error.status not in {400, 422} or self._field is not None:
                raise
            field = "texts"
            answer = await self._http.post(self._url, msgspec.json.encode({**body, field: texts}), max_bytes=limit)
        self._field = field  # it is that: not asked again
        return answer


def _scores(answer: _Answer | list[_Result], count: int) -> list[float]:
    """Raises ValueError where not every document has one finite score."""
    results = answer if isinstance(answer, list) else answer.results or answer.data or []
    results = sorted(results, key=lambda result: result.index)
    if [result.index for result in results] != list(range(count)):
        raise ValueError("other documents")
    scores = [_score(result) for result in results]
    if not all(map(math.isfinite, scores)):
        raise ValueError("not finite")
    return scores


def _score(result: _Result) -> float:
    score = result.score if result.relevance_score is None else result.relevance_score
    return math.nan if score is None else score
