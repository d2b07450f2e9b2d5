"""Anthropic's request and stream formats."""

from typing import Final

import msgspec

from copilot_common.llm.adapters.failures import stream_failure
from copilot_common.llm.adapters.tool_calls import ToolCallParts
from copilot_common.llm.estimates import estimate_usage
from copilot_common.llm.prompting import grounded_system
from copilot_common.llm.types import (
    ChatEvent,
    ChatMessage,
    ChatRequest,
    Finished,
    FinishReason,
    TextDelta,
    TokenUsage,
    ToolCallReady,
)

# This format demands a limit. Every model served today can write so much; thinking counts within it.
_DEFAULT_MAX_TOKENS: Final = 16_384
_FINISH: Final[dict[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_use",
    "refusal": "content_filter",
}
_PASSING_ERRORS: Final = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    usage: _Usage | None = None


class _Block(msgspec.Struct):
    type: str = ""
    id: str | None = None
    name: str = ""
    text: str = ""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str = ""


class _Event(msgspec.Struct):
    """All events in one shape: it decodes faster than a union, and an unknown type is no fault."""

    type: str
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_decoder = msgspec.json.Decoder(_Event)


def encode_request(request: ChatRequest) -> bytes:
    body: dict[str, object] = {
        "model": request.model,
        "max_tokens": request.max_tokens or _DEFAULT_MAX_TOKENS,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
    }
    if system := grounded_system(request):
        body["system"] = system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in request.tools
        ]
    return msgspec.json.encode(body)


def _message(message: ChatMessage) -> dict[str, object]:
    if not (message.tool_calls or message.tool_results):
        return {"role": message.role, "content": message.content}
    blocks: list[dict[str, object]] = [
        {
            "type": "tool_result",
            "tool_use_id": result.tool_call_id,
            "content": result.content,
            "is_error": result.is_error,
        }
        for result in message.tool_results
    ]
    # An empty text block is refused.
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in message.tool_calls
    ]
    return {"role": message.role, "content": blocks}


class AnthropicDecoder:
    """One answer. Blocks come one after another, so there is at most one tool call in the making."""

    def __init__(self, request: ChatRequest) -> None:
        self.is_done = False
        self._request = request
        self._text: list[str] = []
        self._call: ToolCallParts | None = None
        self._finish: FinishReason | None = None
        self._usage = _Usage()
        self._is_usage_final = False

    def feed(self, payload: bytes) -> list[ChatEvent]:
        event = _decoder.decode(payload)
        match event.type:
            case "content_block_delta" if event.delta:
                return self._read_delta(event.delta)
            case "content_block_start" if event.content_block:
                return self._begin_block(event.content_block)
            case "content_block_stop":
                return self._end_block()
            case "message_start" if event.message and event.message.usage:
                self._usage = event.message.usage
            case "message_delta":
                self._read_message_delta(event)
            case "message_stop":
                self.is_done = True
            case "error":
                kind = event.error.type if event.error else ""
                raise stream_failure("anthropic", retryable=kind in _PASSING_ERRORS)
            case _:
                pass  # ping, and what may be added
        return []

    def finish(self) -> Finished | None:
        if self._finish is None:
            return None
        if not self._is_usage_final:
            return Finished(self._finish, estimate_usage(self._request, "".join(self._text)))
        return Finished(self._finish, _convert_usage(self._usage))

    def _begin_block(self, block: _Block) -> list[ChatEvent]:
        if block.type == "tool_use":
            self._call = ToolCallParts(block.id, block.name)
        return self._say(block.text)

    def _read_delta(self, delta: _Delta) -> list[ChatEvent]:
        if delta.type == "input_json_delta" and self._call:
            self._call.add(delta.partial_json)
        return self._say(delta.text if delta.type == "text_delta" else "")

    def _say(self, text: str) -> list[ChatEvent]:
        if not text:
            return []
        self._text.append(text)
        return [TextDelta(text)]

    def _end_block(self) -> list[ChatEvent]:
        call, self._call = self._call, None
        return [ToolCallReady(call.build())] if call else []

    def _read_message_delta(self, event: _Event) -> None:
        if event.delta and event.delta.stop_reason:
            self._finish = _FINISH.get(event.delta.stop_reason, "stop")
        if event.usage:
            self._usage = _merge_usage(self._usage, event.usage)
            self._is_usage_final = True


def _merge_usage(first: _Usage, last: _Usage) -> _Usage:
    """The final report repeats only what has changed."""
    changed = {name: value for name, value in msgspec.structs.asdict(last).items() if value is not None}
    return msgspec.structs.replace(first, **changed)


def _convert_usage(usage: _Usage) -> TokenUsage:
    cached = usage.cache_read_input_tokens or 0
    details = usage.output_tokens_details
    return TokenUsage(
        # Anthropic's input_tokens leaves out what was read from or written to the cache.
        input_tokens=(usage.input_tokens or 0) + cached + (usage.cache_creation_input_tokens or 0),
        output_tokens=usage.output_tokens or 0,
        cached_tokens=cached,
        reasoning_tokens=(details.thinking_tokens or 0) if details else 0,
    )
