"""What the decoders make of events no simulator sends by itself."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import ProviderError
from copilot_common.llm import ChatEvent, TextDelta, ToolCallReady
from copilot_common.llm.adapters.anthropic_wire import AnthropicDecoder
from copilot_common.llm.adapters.failures import retry_after_seconds, status_failure
from copilot_common.llm.adapters.google_wire import GoogleDecoder, google_failure
from copilot_common.llm.adapters.openai_wire import OpenAIDecoder
from copilot_common.llm.adapters.sse import SseDecoder
from unit.llm.fakes import REQUEST


def feed(decoder: OpenAIDecoder | AnthropicDecoder | GoogleDecoder, *payloads: str) -> list[ChatEvent]:
    return [event for payload in payloads for event in decoder.feed(payload.encode())]


@given(st.lists(st.binary(max_size=10).filter(lambda data: not set(data) & {10, 13}), max_size=6), st.data())
def test_any_split_of_the_bytes_gives_the_same_payloads(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(b": ping\r\n\r\nevent: x\ndata: " + payload + b"\n\n" for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    decoder = SseDecoder()
    found: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert found + decoder.finish() == payloads


def test_a_last_event_without_its_empty_line_is_not_lost() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\n\ndata: 2") == [b"1"]
    assert decoder.finish() == [b"2"]


def test_an_event_of_several_lines_is_one_payload() -> None:
    assert SseDecoder().feed(b"data: a\ndata: b\n\n") == [b"a\nb"]


def test_openai_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    piece = '{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"%s","function":{"name":"f","arguments":"{}"}}]}}]}'
    end = '{"choices":[{"delta":{},"finish_reason":"stop"}]}'
    decoder = OpenAIDecoder(REQUEST)
    events = feed(decoder, piece % "a", piece % "b", end)
    assert [event.call.id for event in events if isinstance(event, ToolCallReady)] == ["a", "b"]
    finished = decoder.finish()
    assert finished is not None
    assert finished.finish_reason == "tool_use"


def test_openai_a_call_cut_off_by_the_length_limit_was_never_made() -> None:
    piece = '{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\\"x"}}]}}]}'
    assert feed(OpenAIDecoder(REQUEST), piece, '{"choices":[{"delta":{},"finish_reason":"length"}]}') == []


def test_openai_an_error_within_the_stream_is_the_providers_failure() -> None:
    with pytest.raises(ProviderError, match="failed while answering"):
        feed(OpenAIDecoder(REQUEST), '{"error":{"message":"secret"}}')


def test_openai_nulls_are_nothing() -> None:
    payload = (
        '{"choices":[{"delta":{"content":null,"tool_calls":null},"finish_reason":null}],"usage":null,"error":null}'
    )
    assert feed(OpenAIDecoder(REQUEST), payload) == []


def test_anthropic_thinking_and_pings_and_unknown_events_say_nothing() -> None:
    payloads = (
        '{"type":"ping"}',
        '{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}',
        '{"type":"something_new","payload":[1]}',
        '{"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}',
    )
    assert feed(AnthropicDecoder(REQUEST), *payloads) == [TextDelta("hi")]


@pytest.mark.parametrize(("kind", "retryable"), [("overloaded_error", True), ("invalid_request_error", False)])
def test_anthropic_errors_within_a_stream_are_told_apart_by_type(kind: str, retryable: bool) -> None:
    with pytest.raises(ProviderError) as caught:
        feed(AnthropicDecoder(REQUEST), f'{{"type":"error","error":{{"type":"{kind}"}}}}')
    assert caught.value.retryable is retryable


def test_anthropic_tokens_written_to_the_cache_are_input() -> None:
    decoder = AnthropicDecoder(REQUEST)
    usage = '"usage":{"input_tokens":5,"cache_creation_input_tokens":7,"cache_read_input_tokens":11}'
    feed(
        decoder,
        f'{{"type":"message_start","message":{{{usage}}}}}',
        '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}',
    )
    finished = decoder.finish()
    assert finished is not None
    assert (finished.usage.input_tokens, finished.usage.cached_tokens, finished.usage.output_tokens) == (23, 11, 3)


def test_google_thoughts_are_not_said() -> None:
    payload = '{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"hi"}]}}]}'
    assert feed(GoogleDecoder(REQUEST), payload) == [TextDelta("hi")]


def test_google_a_blocked_prompt_is_a_filtered_answer() -> None:
    decoder = GoogleDecoder(REQUEST)
    assert feed(decoder, '{"promptFeedback":{"blockReason":"SAFETY"}}') == []
    finished = decoder.finish()
    assert finished is not None
    assert finished.finish_reason == "content_filter"


def test_google_names_its_wish_to_wait_in_the_errors_body() -> None:
    details = {"error": {"code": 429, "details": [{"@type": "x"}, {"@type": "RetryInfo", "retryDelay": "13.5s"}]}}
    assert google_failure(429, {}, details).retry_after_seconds == 13.5
    assert google_failure(429, {"retry-after": "2"}, details).retry_after_seconds == 2
    assert google_failure(429, {}, {"message": "html"}).retry_after_seconds is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"details": [{"@type": "x"}, {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}, 401),
        ({"details": [{"reason": "API_KEY_SERVICE_BLOCKED"}]}, 400),
        ({"message": "API_KEY_INVALID", "status": "INVALID_ARGUMENT"}, 400),
        ({"message": "text", "details": [{"reason": 7}]}, 400),
        ("API_KEY_INVALID", 400),
    ],
)
def test_google_tells_a_refused_key_by_its_reason_and_not_by_its_words(error: object, status: int) -> None:
    failure = google_failure(400, {}, msgspec.json.encode({"error": error}))
    assert (failure.status, failure.is_final) == (status, status == 400)


@pytest.mark.parametrize("decoder", [OpenAIDecoder, AnthropicDecoder, GoogleDecoder])
def test_an_answer_that_did_not_end_has_no_finish(decoder: type[OpenAIDecoder]) -> None:
    assert decoder(REQUEST).finish() is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


@pytest.mark.parametrize(
    ("status", "retryable"), [(408, True), (429, True), (500, True), (501, False), (529, True), (404, False)]
)
def test_a_status_says_whether_another_try_may_help(status: int, retryable: bool) -> None:
    assert status_failure("openai", status).retryable is retryable
