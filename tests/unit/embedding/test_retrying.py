"""The rules themselves are those of chat models, and tested there (unit/llm/test_retrying.py)."""

from functools import partial

import pytest

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.embedding.retrying import Retrying
from copilot_common.llm.attempts import Attempts
from unit.embedding.fakes import FakeEmbedder, failure
from unit.llm.fakes import FakeTime


def retrying(fake: FakeEmbedder, time: FakeTime, *, retries: int = 3, timeout: float = 30) -> Retrying:
    begin = partial(Attempts, retries, timeout, clock=time.clock, sleep=time.sleep, jitter=lambda low, high: high)
    return Retrying(fake, "fake", timeout_seconds=timeout, begin=begin)


async def test_what_may_pass_is_tried_again_after_pauses() -> None:
    fake, time = FakeEmbedder(None, failure(), failure(retry_after=7)), FakeTime()
    assert (await retrying(fake, time).embed(["abc"])).vectors.tolist() == [[3, 3]]
    assert time.pauses == [0.5, 7]


async def test_what_will_not_pass_is_not_tried_again() -> None:
    fake, time = FakeEmbedder(None, failure(status=401, retryable=False)), FakeTime()
    with pytest.raises(ProviderError):
        await retrying(fake, time).embed(["abc"])
    assert len(fake.batches) == 1


async def test_each_call_has_attempts_of_its_own() -> None:
    fake, time = FakeEmbedder(None, failure(), None, failure()), FakeTime()
    model = retrying(fake, time, retries=1)
    await model.embed(["a"])
    await model.embed(["b"])
    assert len(fake.batches) == 4


async def test_the_deadline_ends_a_call_that_hangs() -> None:
    fake, time = FakeEmbedder(), FakeTime()
    fake.gate.clear()
    with pytest.raises(ProviderTimeout, match=r"^fake sent nothing for 0.01 s"):
        await retrying(fake, time, timeout=0.01).embed(["a"])
    assert fake.at_once == 0
