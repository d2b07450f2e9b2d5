import pytest

from copilot_common.embedding.pacing import Paced, Rate
from unit.embedding.fakes import FakeEmbedder
from unit.llm.fakes import FakeTime


def test_a_rate_lets_a_burst_through_and_then_spreads_the_rest() -> None:
    rate = Rate(60, clock=FakeTime().clock)  # one a second, six of them at once
    assert [rate.take(1) for _ in range(9)] == [0, 0, 0, 0, 0, 0, 0, 1, 2]


def test_what_is_larger_than_a_minutes_worth_is_let_through_and_paid_for_afterwards() -> None:
    rate = Rate(60, clock=FakeTime().clock)
    assert (rate.take(600), rate.take(1)) == (0, 594)


def test_without_a_limit_nothing_waits() -> None:
    rate = Rate(None, clock=FakeTime().clock)
    assert rate.take(10**9) == rate.take(10**9) == 0


@pytest.mark.parametrize(("requests", "tokens"), [(60, None), (None, 60)])
async def test_documents_wait_for_requests_and_for_tokens_and_queries_do_not(
    requests: int | None, tokens: int | None
) -> None:
    time, fake = FakeTime(), FakeEmbedder()
    paced = Paced(fake, Rate(requests, clock=time.clock), Rate(tokens, clock=time.clock), sleep=time.sleep)
    for _ in range(8):
        await paced.embed(["word"])  # one token
    assert time.pauses == [1]
    await paced.embed(["why"], purpose="query")
    assert time.pauses == [1]
    await paced.embed(["word"])
    assert time.pauses == [1, 2]
