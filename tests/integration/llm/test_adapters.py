"""One suite for every adapter of a remote provider, over real sockets against the simulator."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.llm import (
    ChatEvent,
    ChatMessage,
    ChatRequest,
    CitationScanner,
    Finished,
    Passage,
    TextDelta,
    ToolCall,
    ToolCallReady,
    ToolResult,
    ToolSpec,
)
from copilot_common.llm.adapters.factory import create_adapter
from copilot_common.llm.protocol import ChatModel
from copilot_common.llm.retrying import Retrying, RetryPolicy
from copilot_common.platform.settings import Settings
from support.simulator import SimulatorHandle, scripted

PROVIDERS = ("openai", "anthropic", "google")
WEATHER = ToolSpec("weather", "The weather of a place", {"type": "object", "properties": {"input": {"type": "string"}}})
Connect = Callable[..., ChatModel]


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest_asyncio.fixture
async def connect(provider: Any, simulator: SimulatorHandle) -> AsyncIterator[Connect]:
    """Makes adapters of the provider; `api_key` is the only thing they differ in."""
    made: list[ChatModel] = []

    def make(api_key: str = "good-key") -> ChatModel:
        urls = {f"{name}_base_url": url for name, url in simulator.base_urls.items()}
        keys = {f"{name}_api_key": api_key for name in PROVIDERS}
        settings = msgspec.convert(
            {"DATABASE_URL": "", "REDIS_URL": "", "JWT_SECRET": "", "ENCRYPTION_KEY": ""}
            | {name.upper(): value for name, value in (urls | keys).items()},
            Settings,
        )
        made.append(create_adapter(provider, settings))
        return made[-1]

    yield make
    for adapter in made:
        await adapter.aclose()


@pytest.fixture
def model(connect: Connect) -> ChatModel:
    return connect()


def ask(model_id: str, text: str = "Hello?", **fields: Any) -> ChatRequest:
    return ChatRequest(**{"model": model_id, "messages": (ChatMessage("user", text),)} | fields)


def patient(model: ChatModel, *, retries: int = 3, timeout: float = 10.0, stall: float = 10.0) -> Retrying:
    """Retries without pauses of its own."""
    return Retrying(model, RetryPolicy(retries, timeout, stall), jitter=lambda low, high: 0.0)


async def read(model: ChatModel, request: ChatRequest, into: list[ChatEvent] | None = None) -> list[ChatEvent]:
    """Collects into a list of the caller's, so that what came before a failure is not lost."""
    events = [] if into is None else into
    async for batch in model.stream(request):
        events += batch
    return events


# What comes back


async def test_a_plain_call_returns_the_whole_answer(model: ChatModel) -> None:
    completion = await model.complete(ask(scripted("tokens=3")[0]))
    assert completion.text == "word0 word1 word2 "
    assert completion.finish_reason == "stop"
    assert completion.tool_calls == ()


async def test_a_stream_yields_the_words_as_they_come_and_ends_with_one_finished(model: ChatModel) -> None:
    events = await read(model, ask(scripted("tokens=3")[0]))
    assert events[:-1] == [TextDelta("word0 "), TextDelta("word1 "), TextDelta("word2 ")]
    assert isinstance(events[-1], Finished)


async def test_the_first_word_does_not_wait_for_the_second(model: ChatModel, simulator: SimulatorHandle) -> None:
    model_id, key = scripted("tokens=5,fault=stall,after=1")
    async with aclosing(model.stream(ask(model_id))) as events:
        assert await anext(events) == [TextDelta("word0 ")]
        assert [request["state"] for request in await simulator.requests(key)] == ["answering"]


async def test_usage_counts_cached_within_input_and_reasoning_within_output(model: ChatModel) -> None:
    completion = await model.complete(ask(scripted("tokens=7,input=100,cached=40,reasoning=5")[0]))
    usage = completion.usage
    assert (usage.input_tokens, usage.cached_tokens) == (100, 40)
    assert (usage.output_tokens, usage.reasoning_tokens) == (12, 5)
    assert not usage.estimated


async def test_usage_is_estimated_where_the_provider_reports_none(model: ChatModel) -> None:
    completion = await model.complete(ask(scripted("tokens=8,usage=0")[0]))
    assert completion.usage.estimated
    assert completion.usage.input_tokens > 0
    assert completion.usage.output_tokens > 0


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
async def test_the_reason_an_answer_ended_is_told(model: ChatModel, reason: str) -> None:
    assert (await model.complete(ask(scripted(f"finish={reason}")[0]))).finish_reason == reason


# What is sent


async def test_system_prompt_temperature_and_limit_arrive(model: ChatModel, simulator: SimulatorHandle) -> None:
    model_id, key = scripted()
    await model.complete(ask(model_id, system="Answer in Latin.", temperature=0.25, max_tokens=77))
    body = msgspec.json.encode((await simulator.requests(key))[0]["body"]).decode()
    assert "Answer in Latin." in body
    assert '"temperature":0.25' in body
    assert re.search(r'"(max_tokens|maxOutputTokens)":77', body)


async def test_the_turns_of_a_conversation_arrive_in_order(model: ChatModel, simulator: SimulatorHandle) -> None:
    model_id, key = scripted()
    turns = (ChatMessage("user", "first"), ChatMessage("assistant", "second"), ChatMessage("user", "third"))
    await model.complete(ask(model_id, messages=turns))
    body = msgspec.json.encode((await simulator.requests(key))[0]["body"]).decode()
    assert body.index('"first"') < body.index('"second"') < body.index('"third"')


async def test_passages_arrive_numbered_and_an_answer_can_cite_them(
    model: ChatModel, simulator: SimulatorHandle
) -> None:
    model_id, key = scripted("cite=2")
    passages = (Passage(1, "a.md", "The sky is blue.", 0, 16), Passage(2, "b.md", "Grass is green.", 0, 15))
    scanner = CitationScanner({1, 2})
    cited = []
    for event in await read(model, ask(model_id, system="Be brief.", passages=passages)):
        if isinstance(event, TextDelta):
            cited += scanner.feed(event.text)
    body = msgspec.json.encode((await simulator.requests(key))[0]["body"]).decode()
    assert cited == [2]
    assert body.index("Be brief.") < body.index("The sky is blue.") < body.index("Grass is green.")


async def test_the_key_is_sent_as_the_provider_wants_it(connect: Connect) -> None:
    with pytest.raises(ProviderError) as caught:
        await connect("a-wrong-key").complete(ask(scripted()[0]))
    assert caught.value.status == 401


# Tools


async def test_a_tool_call_comes_back_decoded(model: ChatModel) -> None:
    completion = await model.complete(ask(scripted("tool=weather")[0], "Paris", tools=(WEATHER,)))
    assert completion.finish_reason == "tool_use"
    assert [(call.name, call.arguments) for call in completion.tool_calls] == [("weather", {"input": "Paris"})]
    assert completion.tool_calls[0].id


async def test_a_streamed_tool_call_is_one_event(model: ChatModel) -> None:
    events = await read(model, ask(scripted("tool=weather")[0], "Paris", tools=(WEATHER,)))
    assert [type(event) for event in events] == [ToolCallReady, Finished]


@pytest.mark.parametrize("is_error", [False, True])
async def test_a_tools_result_goes_back_and_the_answer_follows(
    model: ChatModel, simulator: SimulatorHandle, is_error: bool
) -> None:
    model_id, key = scripted("tool=weather,tokens=1")
    call = ToolCall("call_1", "weather", {"input": "Paris"})
    turns = (
        ChatMessage("user", "Paris"),
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("user", "", tool_results=(ToolResult("call_1", "sunny-23", is_error),)),
    )
    completion = await model.complete(ask(model_id, messages=turns, tools=(WEATHER,)))
    body = msgspec.json.encode((await simulator.requests(key))[0]["body"]).decode()
    assert completion.text == "word0 "
    assert body.index("Paris") < body.index("sunny-23")


# Failures


async def test_a_rate_limit_carries_the_providers_wish(model: ChatModel) -> None:
    with pytest.raises(ProviderError) as caught:
        await model.complete(ask(scripted("fault=status,status=429,retry_after=7")[0]))
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after_seconds) == (429, True, 7.0)


async def test_after_a_rate_limit_with_retry_after_the_next_attempt_succeeds(
    model: ChatModel, simulator: SimulatorHandle
) -> None:
    model_id, key = scripted("fault=status,status=429,retry_after=0,times=1,tokens=1")
    assert (await patient(model).complete(ask(model_id))).text == "word0 "
    assert len(await simulator.requests(key)) == 2


async def test_server_errors_use_up_the_retries(model: ChatModel, simulator: SimulatorHandle) -> None:
    model_id, key = scripted("fault=status,status=500")
    with pytest.raises(ProviderError) as caught:
        await patient(model, retries=2).complete(ask(model_id))
    assert caught.value.status == 500
    assert len(await simulator.requests(key)) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_what_the_provider_refuses_is_not_retried(
    model: ChatModel, simulator: SimulatorHandle, provider: str, status: int
) -> None:
    model_id, key = scripted(f"fault=status,status={status}")
    with pytest.raises(ProviderError) as caught:
        await patient(model).complete(ask(model_id))
    assert (caught.value.status, caught.value.retryable) == (status, False)
    # A compatible server is asked a second time without the option that some of them refuse.
    attempts = 2 if provider == "openai" and status in {400, 422} else 1
    assert len(await simulator.requests(key)) == attempts


async def test_a_wrong_key_is_refused_once_and_shown_nowhere(connect: Connect, simulator: SimulatorHandle) -> None:
    model_id, key = scripted()
    with pytest.raises(ProviderError) as caught:
        await patient(connect("wrong-key-12345")).complete(ask(model_id))
    assert not caught.value.retryable
    assert "12345" not in f"{caught.value.message} {caught.value.details} {caught.value!r}"
    assert caught.value.__cause__ is None
    assert len(await simulator.requests(key)) == 1


async def test_no_failure_repeats_the_providers_words(model: ChatModel) -> None:
    for script in ("fault=status,status=500", "fault=status,status=400", "fault=error_event,after=1"):
        with pytest.raises(ProviderError) as caught:
            await model.complete(ask(scripted(script)[0]))
        assert "simulated" not in f"{caught.value.message} {caught.value.details}"


async def test_an_unreachable_provider_is_a_retryable_failure(provider: Any) -> None:
    url = "http://127.0.0.1:9/v1"
    settings = {"DATABASE_URL": "", "REDIS_URL": "", "JWT_SECRET": "", "ENCRYPTION_KEY": ""}
    adapter = create_adapter(
        provider,
        msgspec.convert(
            settings | {f"{provider.upper()}_API_KEY": "k", f"{provider.upper()}_BASE_URL": url},
            Settings,
        ),
    )
    with pytest.raises(ProviderError) as caught:
        await adapter.complete(ask("any"))
    assert caught.value.retryable
    await adapter.aclose()


async def test_a_provider_that_falls_silent_is_a_timeout(model: ChatModel, simulator: SimulatorHandle) -> None:
    model_id, key = scripted("fault=stall,after=2")
    seen: list[ChatEvent] = []
    with pytest.raises(ProviderTimeout):
        await read(patient(model, stall=0.1), ask(model_id), into=seen)
    assert seen == [TextDelta("word0 "), TextDelta("word1 ")]
    assert await simulator.wait(key, "disconnected")


async def test_a_provider_that_never_begins_is_a_timeout(model: ChatModel, simulator: SimulatorHandle) -> None:
    await model.complete(ask("sim"))  # connects, so that the next request leaves at once
    model_id, key = scripted("fault=stall,after=0")
    with pytest.raises(ProviderTimeout):
        await patient(model, timeout=0.5).complete(ask(model_id))
    assert await simulator.wait(key, "disconnected")


@pytest.mark.parametrize("fault", ["cut", "malformed", "error_event"])
async def test_a_stream_that_breaks_before_its_first_word_is_tried_again(model: ChatModel, fault: str) -> None:
    model_id, _ = scripted(f"fault={fault},after=0,times=1,tokens=2")
    assert (await patient(model).complete(ask(model_id))).text == "word0 word1 "


@pytest.mark.parametrize("fault", ["cut", "malformed", "error_event"])
async def test_a_stream_that_breaks_after_its_first_word_is_not_tried_again(
    model: ChatModel, simulator: SimulatorHandle, fault: str
) -> None:
    model_id, key = scripted(f"fault={fault},after=2,times=1")
    seen: list[ChatEvent] = []
    with pytest.raises(ProviderError):
        await read(patient(model), ask(model_id), into=seen)
    assert seen == [TextDelta("word0 "), TextDelta("word1 ")]
    assert len(await simulator.requests(key)) == 1


# Ending early


async def test_cancelling_the_caller_closes_the_providers_connection(
    model: ChatModel, simulator: SimulatorHandle
) -> None:
    model_id, key = scripted("fault=stall,after=1")
    first_word = asyncio.Event()

    async def consume() -> None:
        async for _ in patient(model).stream(ask(model_id)):
            first_word.set()

    task = asyncio.create_task(consume())
    await first_word.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await simulator.wait(key, "disconnected")


async def test_closing_a_stream_early_closes_the_providers_connection(
    model: ChatModel, simulator: SimulatorHandle
) -> None:
    model_id, key = scripted("tokens=1000,pace_ms=5")
    events = model.stream(ask(model_id))
    await anext(events)
    await events.aclose()
    assert await simulator.wait(key, "disconnected")


async def test_many_slow_streams_run_at_once(model: ChatModel) -> None:
    model_id, _ = scripted("tokens=5,pace_ms=20")
    completions = await asyncio.gather(*(model.complete(ask(model_id)) for _ in range(200)))
    assert {completion.text for completion in completions} == {"word0 word1 word2 word3 word4 "}


async def test_a_finished_answer_leaves_its_connection_for_the_next_call(
    model: ChatModel, simulator: SimulatorHandle
) -> None:
    model_id, key = scripted("tokens=2")
    for _ in range(5):
        await model.complete(ask(model_id))
    assert len({request["connection"] for request in await simulator.requests(key)}) == 1


# What only OpenAI-compatible servers do


@pytest.mark.parametrize("provider", ["openai"])
async def test_a_server_that_refuses_stream_options_is_asked_without_and_not_again(
    connect: Connect, simulator: SimulatorHandle
) -> None:
    model, (model_id, key) = connect(), scripted("refuse=stream_options,tokens=2,usage=0")
    for _ in range(2):
        completion = await model.complete(ask(model_id))
        assert completion.text == "word0 word1 "
        assert completion.usage.estimated
    assert len(await simulator.requests(key)) == 3
