"""Anthropic's messages."""

import msgspec

from copilot_devstack.simulator.script import Script
from copilot_devstack.simulator.wire import Ask, Frames, calls_tool, named_event, tool_arguments

_FINISH = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


class _Block(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Block]


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int
    stream: bool = False


_decoder = msgspec.json.Decoder(_Body)


class AnthropicFormat:
    name = "anthropic"
    malformed = b'event: content_block_delta\ndata: {"type": "content_block_delta", "del\n\n'
    error_event = named_event("error", {"error": {"type": "overloaded_error", "message": "simulated"}})

    def read(self, path: str, body: bytes) -> Ask:
        request = _decoder.decode(body)
        content = request.messages[-1].content if request.messages else ""
        blocks = [_Block("text", content)] if isinstance(content, str) else content
        answered = any(block.type == "tool_result" for block in blocks)
        text = "".join(block.text for block in blocks)
        return Ask(model=request.model, stream=request.stream, tool_input=None if answered else text)

    def frames(self, script: Script, ask: Ask) -> Frames:
        if calls_tool(script, ask):
            block: dict[str, object] = {"type": "tool_use", "id": "toolu_sim", "name": script.tool, "input": {}}
            words, finish = _tool_deltas(ask), "tool_use"
        else:
            block, finish = {"type": "text", "text": ""}, _FINISH[script.finish]
            words = tuple(_delta({"type": "text_delta", "text": word}) for word in script.words)
        start: dict[str, object] = {"message": _message(script, ask, [], None)}
        head = named_event("message_start", start) + named_event(
            "content_block_start", {"index": 0, "content_block": block}
        )
        end: dict[str, object] = {
            "delta": {"stop_reason": finish, "stop_sequence": None},
            "usage": _final_usage(script),
        }
        stop = named_event("content_block_stop", {"index": 0})
        return Frames(head, words, stop + named_event("message_delta", end) + named_event("message_stop", {}))

    def document(self, script: Script, ask: Ask) -> bytes:
        block: dict[str, object] = {"type": "text", "text": "".join(script.words)}
        finish = _FINISH[script.finish]
        if calls_tool(script, ask):
            block = {"type": "tool_use", "id": "toolu_sim", "name": script.tool, "input": tool_arguments(ask)}
            finish = "tool_use"
        return msgspec.json.encode(_message(script, ask, [block], finish))

    def error(self, status: int) -> bytes:
        return msgspec.json.encode({"type": "error", "error": {"type": "simulated", "message": "simulated"}})


def _tool_deltas(ask: Ask) -> tuple[bytes, ...]:
    arguments = msgspec.json.encode(tool_arguments(ask)).decode()
    half = len(arguments) // 2
    pieces = ("", arguments[:half], arguments[half:])
    return tuple(_delta({"type": "input_json_delta", "partial_json": piece}) for piece in pieces)


def _delta(delta: dict[str, object]) -> bytes:
    return named_event("content_block_delta", {"index": 0, "delta": delta})


def _message(script: Script, ask: Ask, content: list[dict[str, object]], finish: str | None) -> dict[str, object]:
    usage = {**_input_usage(script), "output_tokens": 1 if finish is None else script.output}
    head = {"id": "msg_sim", "type": "message", "role": "assistant", "model": ask.model, "content": content}
    return {**head, "stop_reason": finish, "stop_sequence": None, "usage": usage if script.usage else None}


def _input_usage(script: Script) -> dict[str, object]:
    # Anthropic counts cached tokens beside input_tokens, not within.
    return {
        "input_tokens": script.input - min(script.cached, script.input),
        "cache_read_input_tokens": script.cached,
        "cache_creation_input_tokens": 0,
    }


def _final_usage(script: Script) -> dict[str, object] | None:
    details = {"thinking_tokens": script.reasoning}
    return {"output_tokens": script.output, "output_tokens_details": details} if script.usage else None
