"""Google's request and stream formats."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from copilot_common.base.errors import ProviderError
from copilot_common.llm.adapters.failures import status_failure
from copilot_common.llm.adapters.tool_calls import new_call_id
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
    ToolCall,
    ToolCallReady,
)

_FINISH: Final[dict[str, FinishReason]] = {
    "STOP": "stop",
    "CONTINUATION": "length",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
_OLD_MODELS: Final = ("gemini-1", "gemini-2")
# Gemini 3 and later refuse a call in the history without the signature it came with. We keep none, since a conversation
# may change models; this is Google's own word for that case.
_NO_SIGNATURE: Final = "skip_thought_signature_validator"
# Google's reason for a key that is wrong or has expired comes with a 400; everybody else's answer is a 401.
_KEY_REFUSED: Final = "API_KEY_INVALID"
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)s")


class _FunctionCall(msgspec.Struct):
    name: str = ""
    args: dict[str, object] | None = None
    id: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Error(msgspec.Struct):
    code: int = 500


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    error: _Error | None = None


class _ErrorDetail(msgspec.Struct, rename="camel"):
    """One of google.rpc's RetryInfo, ErrorInfo and others."""

    retry_delay: str = ""
    reason: str = ""


class _ErrorBody(msgspec.Struct):
    details: list[_ErrorDetail] = []


class _ErrorAnswer(msgspec.Struct):
    error: _ErrorBody


_decoder = msgspec.json.Decoder(_Answer)
_decode_error = msgspec.json.Decoder(_ErrorAnswer).decode


def encode_request(request: ChatRequest) -> dict[str, object]:
    """A dict, because the SDK encodes it."""
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    signed = not request.model.removeprefix("models/").startswith(_OLD_MODELS)
    body: dict[str, object] = {"contents": [_content(message, names, signed=signed) for message in request.messages]}
    if system := grounded_system(request):
        body["systemInstruction"] = {"parts": [{"text": system}]}
    config: dict[str, object] = {}
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.max_tokens is not None:
        config["maxOutputTokens"] = request.max_tokens
    if config:
        body["generationConfig"] = config
    if request.tools:
        declarations = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.input_schema}
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declarations}]
    return body


def _content(message: ChatMessage, names: dict[str, str], *, signed: bool) -> dict[str, object]:
    parts: list[dict[str, object]] = []
    for result in message.tool_results:
        answer = {"error" if result.is_error else "result": result.content}
        # This format finds the call by the function's name, not by an id.
        parts.append({"functionResponse": {"name": names.get(result.tool_call_id, "unknown"), "response": answer}})
    if message.content or not (message.tool_results or message.tool_calls):
        parts.append({"text": message.content})
    for call in message.tool_calls:
        part: dict[str, object] = {"functionCall": {"name": call.name, "args": call.arguments}}
        parts.append({**part, "thoughtSignature": _NO_SIGNATURE} if signed else part)
    return {"role": "model" if message.role == "assistant" else "user", "parts": parts}


class GoogleDecoder:
    """One answer. The last event is not marked: the stream's end is the end."""

    is_done = False

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._text: list[str] = []
        self._has_calls = False
        self._finish: FinishReason | None = None
        self._usage: TokenUsage | None = None

    def feed(self, payload: bytes) -> list[ChatEvent]:
        answer = _decoder.decode(payload)
        if answer.error is not None:
            raise status_failure("google", answer.error.code)
        if answer.usage_metadata is not None:
            self._usage = _convert_usage(answer.usage_metadata)
        if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
            self._finish = "content_filter"
        events: list[ChatEvent] = []
        for candidate in answer.candidates or ():
            for part in (candidate.content.parts if candidate.content else None) or ():
                events += self._read_part(part)
            if candidate.finish_reason:
                self._finish = _FINISH.get(candidate.finish_reason, "error")
        return events

    def finish(self) -> Finished | None:
        if self._finish is None:
            return None
        reason = "tool_use" if self._has_calls and self._finish == "stop" else self._finish
        return Finished(reason, self._usage or estimate_usage(self._request, "".join(self._text)))

    def _read_part(self, part: _Part) -> list[ChatEvent]:
        call = part.function_call
        if call is not None:
            self._has_calls = True
            return [ToolCallReady(ToolCall(call.id or new_call_id(), call.name, call.args or {}))]
        if not part.text or part.thought:
            return []
        self._text.append(part.text)
        return [TextDelta(part.text)]


def google_failure(status: int, headers: Mapping[str, str] | None, body: object) -> ProviderError:
    """As `status_failure`, with what Google says in its error's body alone: when to come back, and that a 400 is the
    key's, which is a 401 then. `body`: as it came, or decoded."""
    details = _error_details(body)
    is_of_key = any(detail.reason == _KEY_REFUSED for detail in details)
    failure = status_failure("google", 401 if is_of_key else status, headers)
    if failure.retry_after_seconds is None:
        found = (_DURATION.fullmatch(detail.retry_delay) for detail in details)
        failure.retry_after_seconds = next((float(match[1]) for match in found if match), None)
    return failure


def _error_details(body: object) -> list[_ErrorDetail]:
    try:
        answer = _decode_error(body) if isinstance(body, bytes) else msgspec.convert(body, _ErrorAnswer)
    except msgspec.DecodeError:
        return []
    return answer.error.details


def _convert_usage(usage: _Usage) -> TokenUsage:
    thoughts = usage.thoughts_token_count or 0
    return TokenUsage(
        input_tokens=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        # Google counts thoughts beside the answer.
        output_tokens=(usage.candidates_token_count or 0) + thoughts,
        cached_tokens=usage.cached_content_token_count or 0,
        reasoning_tokens=thoughts,
    )
