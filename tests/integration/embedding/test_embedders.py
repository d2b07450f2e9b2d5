"""One suite for every embedder as it is wired: the remote ones over real sockets against the simulator."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest
import pytest_asyncio

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.embedding import Embedder, build_embedder, wordllama_adapter
from copilot_common.platform.settings import Settings
from support.minilm import write_model
from support.simulator import SimulatorHandle, scripted

REMOTE = ("openai", "google", "compatible")
LOCAL = ("wordllama-256", "minilm-384")
NEAR, NEAR_TOO, FAR = "the cat sat on the mat", "the cat slept on a mat", "value added tax"
Connect = Callable[..., tuple[Embedder, str]]

every = pytest.mark.parametrize("kind", [*REMOTE, *LOCAL])
remote = pytest.mark.parametrize("kind", REMOTE)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="session", autouse=True)
def one_wordllama() -> Iterator[None]:
    """Loaded once for all tests, not for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wordllama_adapter, "_load", cache(wordllama_adapter._load))
        yield


@pytest_asyncio.fixture
async def connect(kind: str, simulator: SimulatorHandle, minilm: Path) -> AsyncIterator[Connect]:
    """Makes embedders of that kind, and with each the key under which its requests are recorded."""
    made: list[Embedder] = []

    def make(script: str = "", *, api_key: str = "good-key", **variables: str) -> tuple[Embedder, str]:
        model, key = scripted(",".join(part for part in (script, "dimensions=16") if part))
        values = {
            "OPENAI_BASE_URL": f"{simulator.url}/v1",
            "GOOGLE_BASE_URL": simulator.url,
            "EMBEDDING_BASE_URL": f"{simulator.url}/v1/",
            **{f"{name}_API_KEY": api_key for name in ("OPENAI", "GOOGLE", "EMBEDDING")},
            "EMBEDDING_MODEL_PATH": str(minilm),
            "EMBEDDING_MODEL": kind if kind in LOCAL else f"{kind}/{model}@16",
        }
        made.append(build_embedder(settings(**(values | variables))))
        return made[-1], key

    yield make
    for embedder in made:
        await embedder.aclose()


def settings(**variables: str) -> Settings:
    required = {"DATABASE_URL": "", "REDIS_URL": "", "JWT_SECRET": "", "ENCRYPTION_KEY": ""}
    return msgspec.convert(required | variables, Settings, strict=False)


async def bodies(simulator: SimulatorHandle, key: str) -> list[dict[str, Any]]:
    return [request["body"] for request in await simulator.requests(key)]


def sent_texts(body: dict[str, Any]) -> list[str]:
    return body.get("input") or [request["content"]["parts"][0]["text"] for request in body["requests"]]


# What comes back


@every
async def test_each_text_has_a_row_of_length_one(connect: Connect) -> None:
    embedder, _ = connect()
    vectors = (await embedder.embed([NEAR, FAR, "the harbour lamp"])).vectors
    assert vectors.shape == (3, embedder.spec.dimensions)
    assert vectors.dtype == numpy.float32
    assert numpy.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


@every
async def test_a_text_that_says_nothing_is_zeros(connect: Connect) -> None:
    vectors = (await connect()[0].embed(["", NEAR, " \n"])).vectors
    assert vectors.any(axis=1).tolist() == [False, True, False]


@every
async def test_texts_with_common_words_are_nearer(connect: Connect) -> None:
    one, near, far = (await connect()[0].embed([NEAR, NEAR_TOO, FAR])).vectors
    assert one @ near > one @ far


@every
async def test_a_text_has_one_vector_alone_and_among_many_in_any_order(connect: Connect) -> None:
    embedder, _ = connect()
    texts = [f"one two three {word}" for word in ("cat", "mat", "tax", "lamp")] * 40
    many = (await embedder.embed(texts)).vectors
    alone = [(await embedder.embed([text])).vectors[0] for text in texts[:4]]
    assert many == pytest.approx(numpy.stack(alone * 40), abs=1e-6)


@every
async def test_no_texts_have_no_rows(connect: Connect) -> None:
    embedder, _ = connect()
    assert (await embedder.embed([])).vectors.shape == (0, embedder.spec.dimensions)


@every
async def test_a_very_long_text_is_embedded_too(connect: Connect) -> None:
    assert (await connect()[0].embed(["the cat sat " * 50_000])).vectors.any()


@every
async def test_a_text_as_long_as_a_chunk_counts_to_its_end(connect: Connect) -> None:
    vectors = (await connect()[0].embed(["harbour " * 149 + word for word in ("cat", "tax")])).vectors
    assert vectors[0] @ vectors[1] < 0.99999


@every
async def test_many_callers_at_once_get_their_own_vectors(connect: Connect) -> None:
    embedder, _ = connect()
    one, two = (await embedder.embed([NEAR, FAR])).vectors
    found = await asyncio.gather(*(embedder.embed([text]) for text in [NEAR, FAR] * 20))
    assert numpy.concatenate([each.vectors for each in found]) == pytest.approx(numpy.stack([one, two] * 20), abs=1e-6)


@pytest.mark.parametrize("kind", LOCAL)
async def test_a_local_model_loads_and_embeds_without_any_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    embedder, _ = connect()
    await embedder.load()
    assert (await embedder.embed([NEAR])).input_tokens == 0


# What is counted


@remote
async def test_the_providers_count_of_tokens_is_told(connect: Connect) -> None:
    embedded = await connect("input=42")[0].embed([NEAR, FAR])
    assert (embedded.input_tokens, embedded.estimated) == (42, False)


@remote
async def test_tokens_are_estimated_where_the_provider_counts_none(connect: Connect) -> None:
    embedded = await connect("usage=0")[0].embed([NEAR, FAR])
    assert embedded.estimated
    assert embedded.input_tokens == 10  # 22 and 15 letters, four to a token


# What is sent


@remote
async def test_many_texts_are_sent_in_batches_within_the_models_limits(
    connect: Connect, simulator: SimulatorHandle
) -> None:
    embedder, key = connect()
    await embedder.embed([f"text {number}" for number in range(100)])
    assert [len(sent_texts(body)) for body in await bodies(simulator, key)] == [32, 32, 32, 4]


@pytest.mark.parametrize("kind", ["google"])
async def test_google_is_told_what_a_text_is_for(connect: Connect, simulator: SimulatorHandle) -> None:
    embedder, key = connect()
    await embedder.embed(["why?"], purpose="query")
    await embedder.embed(["because"])
    tasks = [body["requests"][0]["taskType"] for body in await bodies(simulator, key)]
    assert tasks == ["RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT"]


@pytest.mark.parametrize(
    ("model", "field"),
    [("openai/text-embedding-3-small", "dimensions"), ("google/gemini-embedding-001", "outputDimensionality")],
)
async def test_a_model_that_can_is_told_to_shorten_its_vectors(
    simulator: SimulatorHandle, model: str, field: str
) -> None:
    # EMBEDDING_DIMENSIONS is for the default alone.
    made = settings(
        OPENAI_BASE_URL=f"{simulator.url}/v1",
        GOOGLE_BASE_URL=simulator.url,
        GOOGLE_API_KEY="k",
        EMBEDDING_MODEL=model,
        EMBEDDING_DIMENSIONS="256",
    )
    embedder = build_embedder(made)
    assert embedder.spec.name == f"{model}@256"
    assert (await embedder.embed([NEAR])).vectors.shape == (1, 256)
    assert build_embedder(made, model).spec.dimensions > 256
    body = (await bodies(simulator, ""))[-1]
    assert (body.get("requests") or [body])[0][field] == 256
    await embedder.aclose()


async def test_a_listed_models_marks_are_sent_before_its_texts(simulator: SimulatorHandle) -> None:
    embedder = build_embedder(
        settings(EMBEDDING_MODEL="compatible/nomic-embed-text", EMBEDDING_BASE_URL=f"{simulator.url}/v1")
    )
    with pytest.raises(ProviderError, match="768 dimensions"):  # the simulator makes others
        await embedder.embed(["why?"], purpose="query")
    sent = [sent_texts(body) for body in await bodies(simulator, "")]
    assert ["search_query: why?"] in sent
    await embedder.aclose()


@pytest.mark.parametrize("kind", ["compatible", "openai"])
async def test_openais_key_goes_to_openais_address_alone(connect: Connect, kind: str) -> None:
    """A key that contains `wrong` is refused: that it is not tells that it was not sent."""
    variables = {"compatible": {"OPENAI_API_KEY": "wrong"}, "openai": {"EMBEDDING_API_KEY": "wrong"}}
    await connect(**variables[kind])[0].embed([NEAR])


@pytest.mark.parametrize("kind", ["compatible"])
async def test_a_server_that_refuses_base64_is_asked_for_numbers_and_not_again(
    connect: Connect, simulator: SimulatorHandle
) -> None:
    embedder, key = connect("refuse=encoding_format")
    for _ in range(2):
        assert (await embedder.embed([NEAR])).vectors.any()
    assert ["encoding_format" in body for body in await bodies(simulator, key)] == [True, False, False]


# Failures


@remote
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_tried_again(connect: Connect, simulator: SimulatorHandle, status: int) -> None:
    embedder, key = connect(f"fault=status,status={status},retry_after=0,times=2")
    assert (await embedder.embed([NEAR])).vectors.any()
    assert len(await simulator.requests(key)) == 3


@remote
async def test_server_errors_use_up_the_retries(connect: Connect, simulator: SimulatorHandle) -> None:
    embedder, key = connect("fault=status,status=500,retry_after=0", MAX_RETRIES="2")
    with pytest.raises(ProviderError) as caught:
        await embedder.embed([NEAR])
    assert (caught.value.status, caught.value.retryable) == (500, True)
    assert len(await simulator.requests(key)) == 3


@remote
@pytest.mark.parametrize("status", [400, 403, 404])
async def test_what_the_provider_refuses_is_not_tried_again(
    connect: Connect, simulator: SimulatorHandle, kind: str, status: int
) -> None:
    embedder, key = connect(f"fault=status,status={status}")
    with pytest.raises(ProviderError) as caught:
        await embedder.embed([NEAR])
    assert (caught.value.status, caught.value.retryable) == (status, False)
    # A compatible server is asked a second time without the option that some of them refuse.
    assert len(await simulator.requests(key)) == (2 if kind == "compatible" and status == 400 else 1)


@remote
async def test_a_wrong_key_is_refused_once_and_shown_nowhere(connect: Connect, simulator: SimulatorHandle) -> None:
    embedder, key = connect(api_key="wrong-key-12345")
    with pytest.raises(ProviderError) as caught:
        await embedder.embed(["a secret text"])
    assert (caught.value.status, caught.value.is_final) == (401, False)
    shown = f"{caught.value.message} {caught.value.details} {caught.value!r}"
    assert not any(word in shown for word in ("12345", "secret", "simulated"))
    assert caught.value.__cause__ is None
    assert len(await simulator.requests(key)) == 1


@remote
async def test_the_providers_wish_is_carried(connect: Connect) -> None:
    with pytest.raises(ProviderError) as caught:
        await connect("fault=status,status=429,retry_after=7", MAX_RETRIES="0")[0].embed([NEAR])
    assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize("kind", ["google"])
async def test_google_says_in_the_body_when_to_come_back(connect: Connect) -> None:
    with pytest.raises(ProviderError) as caught:
        await connect("fault=status,status=429", MAX_RETRIES="0")[0].embed([NEAR])
    assert caught.value.retry_after_seconds == 3


@remote
@pytest.mark.parametrize("fault", ["cut", "malformed", "short", "infinite"])
async def test_an_answer_that_cannot_be_used_is_no_vectors(connect: Connect, fault: str) -> None:
    embedder, _ = connect(f"fault={fault}", MAX_RETRIES="0")
    with pytest.raises(ProviderError) as caught:
        await embedder.embed([NEAR, FAR])
    assert caught.value.retryable


@remote
async def test_vectors_of_another_size_are_refused_for_good(connect: Connect, kind: str) -> None:
    model, _ = scripted("dimensions=17")
    embedder, _ = connect(EMBEDDING_MODEL=f"{kind}/{model}@16")
    with pytest.raises(ProviderError, match="16 dimensions") as caught:
        await embedder.embed([NEAR])
    assert not caught.value.retryable


@remote
async def test_an_answer_far_larger_than_asked_for_is_not_read(connect: Connect, kind: str) -> None:
    model, _ = scripted("dimensions=4000")
    embedder, _ = connect(EMBEDDING_MODEL=f"{kind}/{model}@1", MAX_RETRIES="0")
    with pytest.raises(ProviderError, match="cannot be read"):
        await embedder.embed([f"text {number}" for number in range(32)])


@remote
async def test_a_provider_that_falls_silent_is_a_timeout(connect: Connect, simulator: SimulatorHandle) -> None:
    embedder, key = connect("fault=stall", TIMEOUT_MS="400")
    with pytest.raises(ProviderTimeout):
        await embedder.embed([NEAR])
    assert await simulator.wait(key, "disconnected")


@remote
async def test_an_unreachable_provider_is_a_retryable_failure(connect: Connect) -> None:
    away = {f"{name}_BASE_URL": "http://127.0.0.1:9/v1" for name in ("OPENAI", "GOOGLE", "EMBEDDING")}
    with pytest.raises(ProviderError) as caught:
        await connect(MAX_RETRIES="0", **away)[0].embed([NEAR])
    assert caught.value.retryable


@remote
async def test_cancelling_the_caller_closes_the_providers_connection(
    connect: Connect, simulator: SimulatorHandle
) -> None:
    embedder, key = connect("fault=stall")
    task = asyncio.create_task(embedder.embed([NEAR]))
    assert await simulator.wait(key, "answering")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await simulator.wait(key, "disconnected")
