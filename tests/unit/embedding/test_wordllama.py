"""WordLlama as an Embedder: offline, with unit vectors, off the event loop."""

import asyncio
import math
import threading

import pytest

from copilot_common.embedding import Embedder
from copilot_common.embedding import wordllama_adapter as adapter
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder


async def test_each_text_has_a_vector_of_length_one() -> None:
    embedder: Embedder = WordLlamaEmbedder()
    vectors = await embedder.embed(["cats", "a longer text about ships", "漢字"])
    assert [len(vector) for vector in vectors] == [embedder.dimensions] * 3
    for vector in vectors:
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


async def test_a_text_that_says_nothing_has_no_direction() -> None:
    vectors = await WordLlamaEmbedder().embed(["", "cats"])
    assert not any(vectors[0])
    assert any(vectors[1])


async def test_a_text_is_the_same_vector_alone_and_in_a_batch() -> None:
    embedder = WordLlamaEmbedder()
    alone = (await embedder.embed(["cats"]))[0]
    assert (await embedder.embed(["a much longer text " * 40, "cats"]))[1] == pytest.approx(alone, abs=1e-6)


async def test_what_means_the_same_is_nearer() -> None:
    cat, kitten, tax = await WordLlamaEmbedder().embed(["a cat", "a kitten", "value added tax"])
    near = sum(map(float.__mul__, cat, kitten))
    assert near > sum(map(float.__mul__, cat, tax))


async def test_the_model_is_loaded_once_and_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[bool] = []
    load = adapter._load

    def counting() -> object:
        loaded.append(threading.current_thread() is threading.main_thread())
        return load()

    monkeypatch.setattr(adapter, "_load", counting)
    embedder = WordLlamaEmbedder()
    await asyncio.gather(*(embedder.embed(["x"]) for _ in range(5)))
    assert loaded == [False]


async def test_a_failed_load_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    load, faults = adapter._load, [OSError("no memory")]

    def failing_once() -> object:
        if faults:
            raise faults.pop()
        return load()

    monkeypatch.setattr(adapter, "_load", failing_once)
    embedder = WordLlamaEmbedder()
    with pytest.raises(OSError, match="no memory"):
        await embedder.load()
    await embedder.load()
