"""OpenAI's `/embeddings`, and every server that speaks it (vLLM, Ollama, TEI, LiteLLM, …)."""

from collections.abc import Sequence
from typing import Final

import msgspec

from copilot_common.base.errors import ProviderError
from copilot_common.embedding.catalogue import EmbeddingModel
from copilot_common.embedding.posting import JsonPoster
from copilot_common.embedding.protocol import Embedded, EmbedderSpec, Purpose
from copilot_common.embedding.vectors import read_answer
from copilot_common.llm import estimate_tokens
from copilot_common.llm.adapters.failures import unreadable_answer

# A number in JSON takes up to some 25 characters; the rest of the answer is small.
_BYTES_PER_NUMBER: Final = 32
_BYTES_BESIDE: Final = 64 * 1024


class _Item(msgspec.Struct):
    embedding: bytes | list[float]  # msgspec reads base64 into bytes
    index: int


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Answer(msgspec.Struct):
    data: list[_Item]
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class OpenAIEmbedder:
    """Vectors come as base64, a quarter of what JSON numbers take; a server that refuses to is asked for numbers."""

    def __init__(
        self, model: EmbeddingModel, spec: EmbedderSpec, *, base_url: str, api_key: str | None, timeout_seconds: float
    ) -> None:
        self.spec = spec
        self._model = model
        self._url = f"{base_url.rstrip('/')}/embeddings"
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = JsonPoster(model.provider, headers, timeout_seconds=timeout_seconds)
        self._asks_for_base64 = True

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        prefix = self._model.prefix(purpose)
        marked = [prefix + text for text in texts]
        answer = await self._ask(marked)
        try:
            decoded = _decode(answer)
            rows = self._in_order(decoded.data, len(texts))
            vectors = read_answer(self._model.provider, rows, count=len(texts), dimensions=self.spec.dimensions)
        except (msgspec.DecodeError, ValueError):
            raise unreadable_answer(self._model.provider) from None
        if decoded.usage is not None and decoded.usage.prompt_tokens:
            return Embedded(vectors, decoded.usage.prompt_tokens)
        return Embedded(vectors, sum(map(estimate_tokens, marked)), estimated=True)

    async def load(self) -> None:
        """Nothing: the connection is made by the first request."""

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _ask(self, texts: list[str]) -> bytes:
        limit = len(texts) * self.spec.dimensions * _BYTES_PER_NUMBER + _BYTES_BESIDE
        has_asked_for_base64 = self._asks_for_base64
        try:
            return await self._http.post(self._url, self._body(texts, base64=has_asked_for_base64), max_bytes=limit)
        except ProviderError as error:
            if error.status not in {400, 422} or self._model.provider == "openai" or not has_asked_for_base64:
                raise
        answer = await self._http.post(self._url, self._body(texts, base64=False), max_bytes=limit)
        self._asks_for_base64 = False  # it was that: not asked again
        return answer

    def _body(self, texts: list[str], *, base64: bool) -> bytes:
        body: dict[str, object] = {"model": self._model.model, "input": texts}
        if base64:
            body["encoding_format"] = "base64"
        if self._model.shortens:
            body["dimensions"] = self.spec.dimensions
        return msgspec.json.encode(body)

    def _in_order(self, items: list[_Item], count: int) -> list[bytes | list[float]]:
        items = sorted(items, key=lambda item: item.index)
        if [item.index for item in items] != list(range(count)):
            raise unreadable_answer(self._model.provider)
        return [item.embedding for item in items]
