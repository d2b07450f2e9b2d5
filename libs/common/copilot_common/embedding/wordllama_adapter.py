"""WordLlama: static token vectors, averaged. Its weights come with the package, so it needs no network and no key."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_DIMENSIONS = 256


class WordLlamaEmbedder:
    """Loads its model (0.7 s, 120 MB) at the first use, in a thread; `load` does it before."""

    name = "wordllama-256"
    dimensions = _DIMENSIONS
    max_batch = 256  # about 10 ms in the thread

    def __init__(self) -> None:
        self._loading: asyncio.Task[Any] | None = None

    async def load(self) -> None:
        await self._model()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        model = await self._model()
        return await asyncio.to_thread(_embed, model, list(texts))

    async def _model(self) -> Any:
        if self._loading is None or (self._loading.done() and self._failed(self._loading)):
            self._loading = asyncio.create_task(asyncio.to_thread(_load))
        return await asyncio.shield(self._loading)

    def _failed(self, loading: "asyncio.Task[Any]") -> bool:
        return loading.cancelled() or loading.exception() is not None


def _load() -> Any:
    import wordllama  # noqa: PLC0415 — with numpy and tokenizers, only in the process that embeds

    # It looks for its tokenizer in another folder than the one it ships it in, and would then ask the network.
    folder = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=folder, dim=_DIMENSIONS, disable_download=True)


def _embed(model: Any, texts: list[str]) -> list[list[float]]:
    import numpy  # noqa: PLC0415 — as wordllama: only in the process that embeds

    vectors = model.embed(texts, norm=False)
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    # An empty text, or one without a known token, has no direction (its mean is 0 / 0).
    safe = numpy.nan_to_num(vectors / numpy.where(lengths > 0, lengths, 1))
    embedded: list[list[float]] = safe.tolist()
    return embedded
