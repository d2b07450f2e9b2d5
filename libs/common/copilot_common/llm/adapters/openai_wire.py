"""OpenAI's request and stream formats."""

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

_FINISH: Final[dict[str, FinishReason]] = {
    "length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCallDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCallDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Chunk)


def encode_request(request: ChatRequest, *, asks_for_usage: bool, is_compatible_server: bool) -> bytes:
    body: dict[str, object] = {"model": request.model, "messages": _messages(request), "stream": True}
    if asks_for_usage:
        body["stream_options"] = {"include_usage": True}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        # OpenAI's newer models refuse the old name, most compatible servers know no other.
        body["max_tokens" if is_compatible_server else "max_completion_tokens"] = request.max_tokens
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
            }
            for tool in request.tools
        ]
    return msgspec.json.encode(body)


def _messages(request: ChatRequest) -> list[dict[str, object]]:
    system = grounded_system(request)
    messages: list[dict[str, object]] = [{"role": "system", "content": system}] if system else []
    for message in request.messages:
        messages += _assistant_turn(message) if message.role == "assistant" else _user_turn(message)
    return messages


def _assistant_turn(message: ChatMessage) -> list[dict[str, object]]:
    turn: dict[str, object] = {"role": "assistant", "content": message.content or None}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    else:
        turn["content"] = message.content
    return [turn]


def _user_turn(message: ChatMessage) -> list[dict[str, object]]:
    turns: list[dict[str, object]] = [
        {
            "role": "tool",
            "tool_call_id": result.tool_call_id,
            # This format has no flag for a failed tool.
            "content": f"Error: {result.content}" if result.is_error else result.content,
        }
        for result in message.tool_results
    ]
    if message.content or not turns:
        turns.append({"role": "user", "content": message.content})
    return turns


class OpenAIDecoder:
    """One answer. Tool calls are handed out when the answer ends: only then are all known to be complete."""

    def __init__(self, request: ChatRequest) -> None:
        self.is_done = False
        self._request = request
        self._text: list[str] = []
        self._calls: list[ToolCallParts] = []
        self._by_index: dict[int, ToolCallParts] = {}
        self._finish: FinishReason | None = None
        self._usage: TokenUsage | None = None

    def feed(self, payload: bytes) -> list[ChatEvent]:
        if payload.startswith(b"[DONE]"):
            self.is_done = True
            return []
        chunk = _decoder.decode(payload)
        if bytes(chunk.error) not in {b"", b"null"}:
            raise stream_failure("openai", retryable=True)
        if chunk.usage is not None:
            self._usage = _convert_usage(chunk.usage)
        events: list[ChatEvent] = []
        for choice in chunk.choices or ():
            if choice.delta is not None:
                events += self._read_delta(choice.delta)
            if choice.finish_reason and self._finish is None:
                events += self._end(choice.finish_reason)
        return events

    def finish(self) -> Finished | None:
        if self._finish is None:
            return None
        return Finished(self._finish, self._usage or estimate_usage(self._request, "".join(self._text)))

    def _read_delta(self, delta: _Delta) -> list[ChatEvent]:
        for piece in delta.tool_calls or ():
            self._add_tool_piece(piece)
        text = delta.content or delta.refusal
        if not text:
            return []
        self._text.append(text)
        return [TextDelta(text)]

    def _add_tool_piece(self, piece: _ToolCallDelta) -> None:
        parts = self._by_index.get(piece.index)
        # Some servers send every call with index 0: then a new id begins a new call.
        if parts is None or (piece.id and parts.id and piece.id != parts.id):
            parts = self._by_index[piece.index] = ToolCallParts(piece.id or None, "")
            self._calls.append(parts)
        function = piece.function
        if function is not None:
            parts.name = parts.name or function.name or ""
            parts.add(function.arguments or "")

    def _end(self, reason: str) -> list[ChatEvent]:
        self._finish = _FINISH.get(reason, "stop")
        if self._calls and self._finish == "stop":
            self._finish = "tool_use"
        # An answer cut off by its length leaves a call's arguments unfinished: such a call was never made.
        complete = self._calls if self._finish == "tool_use" else []
        return [ToolCallReady(parts.build()) for parts in complete]


def _convert_usage(usage: _Usage) -> TokenUsage:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return TokenUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cached_tokens=(prompt.cached_tokens or 0) if prompt else 0,
        reasoning_tokens=(completion.reasoning_tokens or 0) if completion else 0,
    )
