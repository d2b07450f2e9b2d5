"""The reranker as it is wired, over real sockets against the simulator."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.platform.settings import Settings
from copilot_common.reranking import Reranker, RerankMetrics, build_reranker
from support.simulator import SimulatorHandle, scripted

QUERY = "when are invoices due"
NONE, ALL, SOME = "cats purr", "invoices are due when they are due", "invoices are sent"
Connect = Callable[..., tuple[Reranker, str]]


@pytest_asyncio.fixture
async def connect(simulator: SimulatorHandle) -> AsyncIterator[Connect]:
    """Makes rerankers, and with each the key under which its requests are recorded."""
    made: list[Reranker] = []

    def make(script: str = "", *, metrics: RerankMetrics | None = None, **variables: str) -> tuple[Reranker, str]:
        model, key = scripted(script)
        values = {"RERANK_MODEL": model, "RERANK_BASE_URL": f"{simulator.url}/v1/", "RERANK_API_KEY": "good-key"}
        reranker = build_reranker(settings(**(values | variables)), metrics=metrics)
        assert reranker is not None
        made.append(reranker)
        return reranker, key

    yield make
    for reranker in made:
        await reranker.aclose()


def settings(**variables: str) -> Settings:
    required = {"DATABASE_URL": "", "REDIS_URL": "", "JWT_SECRET": "", "ENCRYPTION_KEY": ""}
    return msgspec.convert(required | variables, Settings, strict=False)


def test_without_a_model_there_is_no_reranker() -> None:
    assert build_reranker(settings()) is None


async def test_each_text_has_a_score_in_its_place(connect: Connect) -> None:
    assert await connect()[0].rerank(QUERY, [NONE, ALL, SOME]) == [0, 1, 0.5]


async def test_what_is_sent_is_the_common_shape_and_no_more(connect: Connect, simulator: SimulatorHandle) -> None:
    reranker, key = connect()
    await reranker.rerank(QUERY, [ALL])
    (request,) = await simulator.requests(key)
    assert request["path"] == "/v1/rerank"
    assert request["body"] == {"model": reranker.spec.name, "query": QUERY, "documents": [ALL]}


async def test_a_text_is_cut_where_the_model_ends(connect: Connect, simulator: SimulatorHandle) -> None:
    reranker, key = connect()
    await reranker.rerank(QUERY * 1_000, ["ä" * 10_000, "lone \ud800"])
    (request,) = await simulator.requests(key)
    longest = 3 * reranker.spec.max_tokens
    assert [len(text.encode()) for text in request["body"]["documents"]] == [longest, len("lone ?")]
    assert len(request["body"]["query"]) == longest


async def test_a_server_that_wants_texts_is_given_them_and_not_asked_again(
    connect: Connect, simulator: SimulatorHandle
) -> None:
    """TEI's words, and its list of scores."""
    reranker, key = connect("refuse=documents")
    for _ in range(2):
        assert await reranker.rerank(QUERY, [NONE, ALL]) == [0, 1]
    assert ["documents" in request["body"] for request in await simulator.requests(key)] == [True, False, False]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"data": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": -2}]}',
        b'{"results": [{"index": 0, "relevance_score": -2, "document": {"text": "x"}}, {"index": 1, "score": 0.5}]}',
        b'[{"index": 1, "score": 0.5, "text": null}, {"index": 0, "score": -2}]',
    ],
)
async def test_the_dialects_are_understood(connect: Connect, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    answer_with(monkeypatch, answer)
    assert await connect()[0].rerank(QUERY, [NONE, ALL]) == [-2, 0.5]


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b"[]",
        b'{"results": [{"index": 0}, {"index": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]}',
        b'{"results": [{"index": 1, "relevance_score": 1}, {"index": 2, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": "high"}, {"index": 1, "relevance_score": 1}]}',
    ],
)
async def test_scores_that_say_no_place_of_their_own_are_refused(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    answer_with(monkeypatch, answer)
    with pytest.raises(ProviderError, match="cannot be read"):
        await connect(MAX_RETRIES="0")[0].rerank(QUERY, [NONE, ALL])


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    async def post(*_: object, **__: object) -> bytes:
        return answer

    monkeypatch.setattr("copilot_common.embedding.posting.JsonPoster.post", post)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_tried_again(connect: Connect, simulator: SimulatorHandle, status: int) -> None:
    reranker, key = connect(f"fault=status,status={status},retry_after=0,times=2")
    assert await reranker.rerank(QUERY, [ALL]) == [1]
    assert len(await simulator.requests(key)) == 3


async def test_a_wish_beyond_the_deadline_is_not_waited_for(connect: Connect, simulator: SimulatorHandle) -> None:
    reranker, key = connect("fault=status,status=429,retry_after=7")
    with pytest.raises(ProviderError) as caught:
        await reranker.rerank(QUERY, [ALL])
    assert (caught.value.status, caught.value.retry_after_seconds) == (429, 7)
    assert len(await simulator.requests(key)) == 1


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (404, 1), (400, 2)])
async def test_what_the_server_refuses_is_not_tried_again(
    connect: Connect, simulator: SimulatorHandle, status: int, requests: int
) -> None:
    """After a 400 once more, in TEI's words."""
    reranker, key = connect(f"fault=status,status={status}")
    with pytest.raises(ProviderError) as caught:
        await reranker.rerank(QUERY, [ALL])
    assert (caught.value.status, caught.value.retryable) == (status, False)
    assert len(await simulator.requests(key)) == requests


async def test_a_wrong_key_is_refused_once_and_shown_nowhere(connect: Connect, simulator: SimulatorHandle) -> None:
    reranker, key = connect(RERANK_API_KEY="wrong-key-12345")
    with pytest.raises(ProviderError) as caught:
        await reranker.rerank("a secret query", ["a secret text"])
    assert caught.value.status == 401
    shown = f"{caught.value.message} {caught.value.details} {caught.value!r}"
    assert not any(word in shown for word in ("12345", "secret", "simulated"))
    assert len(await simulator.requests(key)) == 1


@pytest.mark.parametrize("fault", ["cut", "malformed", "short", "infinite"])
async def test_an_answer_that_cannot_be_used_is_no_scores(connect: Connect, fault: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await connect(f"fault={fault}", MAX_RETRIES="0")[0].rerank(QUERY, [NONE, ALL])
    assert caught.value.retryable


async def test_a_server_that_falls_silent_is_a_timeout_and_counted(
    connect: Connect, simulator: SimulatorHandle
) -> None:
    registry = CollectorRegistry()
    reranker, key = connect("fault=stall", TIMEOUT_MS="300", metrics=RerankMetrics(registry))
    with pytest.raises(ProviderTimeout):
        await reranker.rerank(QUERY, [ALL])
    assert await simulator.wait(key, "disconnected")
    outcomes = [
        registry.get_sample_value("rerank_requests_total", {"model": reranker.spec.name, "outcome": outcome}) or 0
        for outcome in ("timeout", "cancelled")  # by the request's own time, or by the whole call's
    ]
    assert sum(outcomes) == 1


async def test_an_unreachable_server_is_a_retryable_failure(connect: Connect) -> None:
    with pytest.raises(ProviderError) as caught:
        await connect(MAX_RETRIES="0", RERANK_BASE_URL="http://127.0.0.1:9/v1")[0].rerank(QUERY, [ALL])
    assert caught.value.retryable


async def test_requests_and_texts_are_counted(connect: Connect) -> None:
    registry = CollectorRegistry()
    reranker, _ = connect("fault=status,status=500,retry_after=0,times=1", metrics=RerankMetrics(registry))
    await reranker.rerank(QUERY, [NONE, ALL])
    model = {"model": reranker.spec.name}
    for outcome in ("failed", "completed"):
        assert registry.get_sample_value("rerank_requests_total", {**model, "outcome": outcome}) == 1
    assert registry.get_sample_value("rerank_texts_total", model) == 2
    assert registry.get_sample_value("rerank_request_duration_seconds_count", model) == 2


async def test_cancelling_the_caller_closes_the_connection(connect: Connect, simulator: SimulatorHandle) -> None:
    reranker, key = connect("fault=stall")
    task = asyncio.create_task(reranker.rerank(QUERY, [ALL]))
    assert await simulator.wait(key, "answering")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await simulator.wait(key, "disconnected")
