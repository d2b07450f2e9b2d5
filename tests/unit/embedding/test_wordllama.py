"""WordLlama loads once, off the event loop. What it has in common with the others: integration/embedding."""

import asyncio
import threading

import numpy
import pytest
import wordllama

from copilot_common.base.wordllama import package_folder
from copilot_common.embedding import wordllama_adapter as adapter
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder


async def test_what_means_the_same_is_nearer() -> None:
    cat, kitten, tax = (await WordLlamaEmbedder().embed(["a cat", "a kitten", "value added tax"])).vectors
    assert cat @ kitten > cat @ tax


PROSE = [
    "The harbour is closed to tankers over 200 metres; the pilot boards at the lighthouse.",
    "Die Überprüfung der Rechnung dauert dreißig Tage.\n\n- erstens\n- zweitens",
    "def f(x):\n    return {'a': x + 1}\n",
    "港は閉まっています。 Счета оплачиваются.",
    "",
]


async def test_its_vectors_are_the_librarys_own() -> None:
    library = wordllama.WordLlama.load(cache_dir=package_folder(), dim=256, disable_download=True)
    embedded = (await WordLlamaEmbedder().embed(PROSE)).vectors
    for text, vector in zip(PROSE, embedded, strict=True):
        expected = library.embed([text], norm=True)[0] if text else numpy.zeros(256)
        assert vector == pytest.approx(expected, abs=1e-5)


async def test_a_long_text_beside_short_ones_does_not_change_them() -> None:
    embedder = WordLlamaEmbedder()
    alone = (await embedder.embed(["cats"])).vectors[0]
    beside = (await embedder.embed(["a much longer text " * 40, "cats"])).vectors[1]
    assert beside == pytest.approx(alone, abs=1e-6)


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
