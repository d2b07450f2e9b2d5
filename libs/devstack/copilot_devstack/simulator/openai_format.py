"""OpenAI's chat completions."""

import msgspec

from copilot_devstack.simulator.script import Script
from copilot_devstack.simulator.wire import Ask, Frames, calls_tool, data_event, tool_arguments

_ID = "chatcmpl-sim"
_CREATED = 1_700_000_000


class _Message(msgspec.Struct):
    role: str
    content: object = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool = False
    stream_options: _StreamOptions | None = None


_decoder = msgspec.json.Decoder(_Body)


class OpenAIFormat:
    name = "openai"
    malformed = b'data: {"choices": [{"delta": {"conte\n\n'
    error_event = data_event({"error": {"message": "simulated", "type": "server_error", "code": None}})

    def read(self, path: str, body: bytes) -> Ask:
        request = _decoder.decode(body)
        last = request.messages[-1] if request.messages else _Message("user", "")
        options = request.stream_options
        return Ask(
            model=request.model,
            stream=request.stream,
            tool_input=None if last.role == "tool" else str(last.content),
            wants_usage=not request.stream or (options is not None and options.include_usage),
        )

    def frames(self, script: Script, ask: Ask) -> Frames:
        if calls_tool(script, ask):
            head, words, finish = _chunk(ask, {"role": "assistant"}), _tool_chunks(script, ask), "tool_calls"
        else:
            words = tuple(_chunk(ask, {"content": word}) for word in script.words)
            head, finish = _chunk(ask, {"role": "assistant", "content": ""}), str(script.finish)
        usage = data_event(_envelope(ask, [], _usage(script))) if ask.wants_usage and script.usage else b""
        return Frames(head, words, _chunk(ask, {}, finish) + usage + b"data: [DONE]\n\n")

    def document(self, script: Script, ask: Ask) -> bytes:
        message: dict[str, object] = {"role": "assistant", "content": "".join(script.words)}
        finish: str = script.finish
        if calls_tool(script, ask):
            arguments = msgspec.json.encode(tool_arguments(ask)).decode()
            call = {"id": "call_sim", "type": "function", "function": {"name": script.tool, "arguments": arguments}}
            message, finish = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        usage = _usage(script) if script.usage else None
        return msgspec.json.encode(_envelope(ask, [choice], usage, kind="chat.completion"))

    def error(self, status: int) -> bytes:
        return msgspec.json.encode({"error": {"message": "simulated", "type": "simulated", "code": str(status)}})


def _tool_chunks(script: Script, ask: Ask) -> tuple[bytes, ...]:
    arguments = msgspec.json.encode(tool_arguments(ask)).decode()
    half = len(arguments) // 2
    pieces: list[dict[str, object]] = [
        {"index": 0, "id": "call_sim", "type": "function", "function": {"name": script.tool, "arguments": ""}},
        {"index": 0, "function": {"arguments": arguments[:half]}},
        {"index": 0, "function": {"arguments": arguments[half:]}},
    ]
    return tuple(_chunk(ask, {"tool_calls": [piece]}) for piece in pieces)


def _chunk(ask: Ask, delta: dict[str, object], finish: str | None = None) -> bytes:
    return data_event(_envelope(ask, [{"index": 0, "delta": delta, "finish_reason": finish}], None))


def _envelope(
    ask: Ask, choices: list[dict[str, object]], usage: object, *, kind: str = "chat.completion.chunk"
) -> dict[str, object]:
    head = {"id": _ID, "object": kind, "created": _CREATED, "model": ask.model}
    return {**head, "choices": choices, "usage": usage}


def _usage(script: Script) -> dict[str, object]:
    return {
        "prompt_tokens": script.input,
        "completion_tokens": script.output,
        "total_tokens": script.input + script.output,
        "prompt_tokens_details": {"cached_tokens": script.cached},
        "completion_tokens_details": {"reasoning_tokens": script.reasoning},
    }
