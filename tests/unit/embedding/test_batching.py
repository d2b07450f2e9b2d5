import asyncio

import pytest

from copilot_common.base.errors import ProviderError
from copilot_common.embedding.batching import Batching
from unit.embedding.fakes import FakeEmbedder, failure, spec


async def test_texts_are_split_by_count_and_come_back_in_order() -> None:
    fake = FakeEmbedder(spec(max_batch=3))
    embedded = await Batching(fake, concurrency=2, cuts=True).embed(["a" * n for n in range(1, 9)])
    assert [len(batch) for batch in fake.batches] == [3, 3, 2]
    assert embedded.vectors[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert embedded.vectors.dtype == "float32"
    assert embedded.input_tokens == 8


async def test_a_batch_holds_no_more_tokens_than_the_model_takes() -> None:
    fake = FakeEmbedder(spec(max_batch=100, max_batch_tokens=10))
    await Batching(fake, concurrency=1, cuts=True).embed(
        ["x" * 16, "x" * 16, "x" * 16, "x" * 44, "x"]
    )  # 4, 4, 4, 11, 1 tokens
    assert [len(batch) for batch in fake.batches] == [2, 1, 1, 1]


async def test_a_text_that_is_too_long_is_cut_between_characters() -> None:
    fake = FakeEmbedder(spec(max_input_tokens=5))
    await Batching(fake, concurrency=1, cuts=True).embed(["é" * 10, "x" * 16])
    assert fake.batches == [["é" * 7, "x" * 15]]


async def test_a_model_that_cuts_by_itself_gets_the_whole_text() -> None:
    fake = FakeEmbedder(spec(max_input_tokens=5))
    await Batching(fake, concurrency=1, cuts=False).embed(["x" * 100])
    assert fake.batches == [["x" * 100]]


async def test_blank_texts_are_zeros_and_not_sent() -> None:
    fake = FakeEmbedder()
    embedded = await Batching(fake, concurrency=1, cuts=True).embed(["", "abc", " \n\t"])
    assert fake.batches == [["abc"]]
    assert embedded.vectors.tolist() == [[0, 0], [3, 3], [0, 0]]


@pytest.mark.parametrize("texts", [[], ["", " "]])
async def test_nothing_to_say_asks_nobody(texts: list[str]) -> None:
    fake = FakeEmbedder()
    embedded = await Batching(fake, concurrency=1, cuts=True).embed(texts)
    assert fake.batches == []
    assert embedded.vectors.shape == (len(texts), 2)


async def test_a_lone_surrogate_does_no_harm() -> None:
    fake = FakeEmbedder()
    await Batching(fake, concurrency=1, cuts=True).embed(["a\ud800b"])
    fake.batches[0][0].encode()


async def test_so_many_batches_of_all_callers_are_under_way_at_once() -> None:
    fake = FakeEmbedder(spec(max_batch=1))
    batching = Batching(fake, concurrency=3, cuts=True)
    await asyncio.gather(*(batching.embed(["a", "b", "c", "d"]) for _ in range(4)))
    assert fake.most_at_once == 3


async def test_a_query_does_not_wait_behind_documents() -> None:
    fake = FakeEmbedder(spec(max_batch=1))
    fake.gate.clear()
    batching = Batching(fake, concurrency=1, cuts=True)
    documents = asyncio.create_task(batching.embed(["a", "b"]))
    query = asyncio.create_task(batching.embed(["why?"], purpose="query"))
    async with asyncio.timeout(5):
        await fake.two_at_once.wait()
    assert ["b"] not in fake.batches
    fake.gate.set()
    await asyncio.gather(documents, query)


async def test_a_failed_batch_fails_all_with_its_own_error_and_ends_the_others() -> None:
    wanted = failure(status=400, retryable=False)
    fake = FakeEmbedder(spec(max_batch=1), None, wanted)
    with pytest.raises(ProviderError) as caught:
        await Batching(fake, concurrency=1, cuts=True).embed(["a", "b", "c", "d"])
    assert caught.value is wanted
    assert ["d"] not in fake.batches
    assert fake.at_once == 0
