"""Google's batchEmbedContents."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from copilot_common.embedding.catalogue import EmbeddingModel
from copilot_common.embedding.posting import JsonPoster
from copilot_common.embedding.protocol import Embedded, EmbedderSpec, Purpose
from copilot_common.embedding.vectors import read_answer
from copilot_common.llm import estimate_tokens
from copilot_common.llm.adapters.failures import unreadable_answer
from copilot_common.llm.adapters.google_wire import google_failure

_TASKS: Final[dict[Purpose, str]] = {"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"}
_BYTES_PER_NUMBER: Final = 32
_BYTES_BESIDE: Final = 64 * 1024


class _Embedding(msgspec.Struct):
    values: list[float]


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Embedding]
    usage_metadata: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class GoogleEmbedder:
    """A shortened vector of Google's is not of length 1 as it comes. Tokens are estimated where none are reported."""

    def __init__(
        self, model: EmbeddingModel, spec: EmbedderSpec, *, base_url: str, api_key: str, timeout_seconds: float
    ) -> None:
        self.spec = spec
        self._model = model
        self._name = f"models/{model.model}"
        self._url = f"{base_url.rstrip('/')}/v1beta/{quote(self._name)}:batchEmbedContents"
        self._http = JsonPoster(
            model.provider, {"x-goog-api-key": api_key}, timeout_seconds=timeout_seconds, failure_of=google_failure
        )

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        limit = len(texts) * self.spec.dimensions * _BYTES_PER_NUMBER + _BYTES_BESIDE
        answer = await self._http.post(self._url, self._body(texts, purpose), max_bytes=limit)
        try:
            decoded = _decode(answer)
            rows = (embedding.values for embedding in decoded.embeddings)
            vectors = read_answer(self._model.provider, rows, count=len(texts), dimensions=self.spec.dimensions)
        except (msgspec.DecodeError, ValueError):
            raise unreadable_answer(self._model.provider) from None
        if decoded.usage_metadata is not None and decoded.usage_metadata.prompt_token_count:
            return Embedded(vectors, decoded.usage_metadata.prompt_token_count)
        return Embedded(vectors, sum(map(estimate_tokens, texts)), estimated=True)

    async def load(self) -> None:
        """Nothing: the connection is made by the first request."""

    async def aclose(self) -> None:
        await self._http.aclose()

    def _body(self, texts: Sequence[str], purpose: Purpose) -> bytes:
        options: dict[str, object] = {"model": self._name, "taskType": _TASKS[purpose]}
        if self._model.shortens:
            options["outputDimensionality"] = self.spec.dimensions
        prefix = self._model.prefix(purpose)
        requests = [{**options, "content": {"parts": [{"text": prefix + text}]}} for text in texts]
        return msgspec.json.encode({"requests": requests})
