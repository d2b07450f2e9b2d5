"""WordLlama: static token vectors, averaged. Its weights come with the package, so it needs no network and no key."""

import asyncio
from collections.abc import Sequence
from typing import Any

from copilot_common.base.wordllama import own_units, package_folder, tokenize
from copilot_common.embedding.loading import Loaded
from copilot_common.embedding.protocol import Embedded, EmbedderSpec, Purpose, Vectors
from copilot_common.platform.background import in_background

_DIMENSIONS = 256
_MAX_CHARACTERS = 16_384
_INLINE_CHARACTERS = 2_000  # a question: 0.2 ms at most, and a thread's hand-over takes as long


class WordLlamaEmbedder:
    """Loads its model (0.7 s, 120 MB) at the first use, in a thread; `load` does it before."""

    spec = EmbedderSpec(
        name="wordllama-256",
        dimensions=_DIMENSIONS,
        # 25 to 40 ms in the thread, which hands the GIL over often enough: the event loop's longest gap was 11 ms.
        max_batch=64,
        max_batch_tokens=64 * 512,
        max_input_tokens=_MAX_CHARACTERS // 4,
        tokenizer="wordllama",
    )

    def __init__(self) -> None:
        self._model = Loaded(_load)

    async def load(self) -> None:
        await self._model.get()

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        model = await self._model.get()
        if sum(map(len, texts)) <= _INLINE_CHARACTERS:
            return Embedded(_embed(model, list(texts)))
        elsewhere = asyncio.to_thread if purpose == "query" else in_background
        return Embedded(await elsewhere(_embed, model, list(texts)))

    async def aclose(self) -> None:
        """Goes with the process."""


def _load() -> Any:
    import wordllama  # noqa: PLC0415 — with numpy and tokenizers, only in the process that embeds

    own_units()
    # It looks for its tokenizer in another folder than the one it ships it in, and would then ask the network.
    model = wordllama.WordLlama.load(cache_dir=package_folder(), dim=_DIMENSIONS, disable_download=True)
    return model.embedding


def _embed(embedding: Any, texts: list[str]) -> Vectors:
    """Means of the tokens' vectors, as the library makes them: but unit by unit, and without padding texts to one
    length, which takes a third of the time."""
    import numpy  # noqa: PLC0415 — as above

    from copilot_common.embedding.vectors import unit_length  # noqa: PLC0415 — likewise

    sums = numpy.zeros((len(texts), _DIMENSIONS), numpy.float32)
    for number, text in enumerate(texts):
        ids = numpy.frombuffer(tokenize(text[:_MAX_CHARACTERS]), numpy.uint16)
        if len(ids):
            # A product with ones: numpy's mean over rows takes twice as long, and the length is put right anyhow.
            sums[number] = numpy.ones(len(ids), numpy.float32) @ embedding.take(ids, axis=0)
    return unit_length(sums)
