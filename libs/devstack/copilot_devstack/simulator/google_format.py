"""Google's generateContent and streamGenerateContent."""

from urllib.parse import unquote

import msgspec

from copilot_devstack.simulator.script import Script
from copilot_devstack.simulator.wire import Ask, Frames, calls_tool, data_event, tool_arguments

# As Google answers a key that it does not know, with status 400.
WRONG_KEY = msgspec.json.encode(
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                    "metadata": {"service": "generativelanguage.googleapis.com"},
                },
                {
                    "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
                    "locale": "en-US",
                    "message": "API key not valid. Please pass a valid API key.",
                },
            ],
        }
    }
)
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


class _Part(msgspec.Struct, rename="camel"):
    text: str = ""
    function_response: dict[str, object] | None = None


class _Content(msgspec.Struct):
    parts: list[_Part]
    role: str = "user"


class _Body(msgspec.Struct):
    contents: list[_Content]


_decoder = msgspec.json.Decoder(_Body)


class GoogleFormat:
    name = "google"
    malformed = b'data: {"candidates": [{"content": {"par\n\n'
    error_event = data_event({"error": {"code": 503, "message": "simulated", "status": "UNAVAILABLE"}})

    def read(self, path: str, body: bytes) -> Ask:
        model, _, method = unquote(path.rpartition("/models/")[2]).rpartition(":")
        request = _decoder.decode(body)
        parts = request.contents[-1].parts if request.contents else []
        answered = any(part.function_response is not None for part in parts)
        text = "".join(part.text for part in parts)
        return Ask(model=model, stream=method.startswith("stream"), tool_input=None if answered else text)

    def frames(self, script: Script, ask: Ask) -> Frames:
        words = tuple(data_event(_answer(ask, [part], None, None)) for part in _parts(script, ask))
        usage = _usage(script) if script.usage else None
        head = data_event(_answer(ask, [{"text": ""}], None, None))
        return Frames(head, words, data_event(_answer(ask, [{"text": ""}], _FINISH[script.finish], usage)))

    def document(self, script: Script, ask: Ask) -> bytes:
        usage = _usage(script) if script.usage else None
        return msgspec.json.encode(_answer(ask, _parts(script, ask), _FINISH[script.finish], usage))

    def error(self, status: int) -> bytes:
        return msgspec.json.encode({"error": {"code": status, "message": "simulated", "status": "SIMULATED"}})


def _parts(script: Script, ask: Ask) -> list[dict[str, object]]:
    if calls_tool(script, ask):
        return [{"functionCall": {"name": script.tool, "args": tool_arguments(ask)}}]
    return [{"text": word} for word in script.words]


def _answer(ask: Ask, parts: list[dict[str, object]], finish: str | None, usage: object) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    answer: dict[str, object] = {"candidates": [candidate], "modelVersion": ask.model, "responseId": "sim"}
    return {**answer, "usageMetadata": usage} if usage else answer


def _usage(script: Script) -> dict[str, object]:
    # Google counts thoughts beside candidates, not within.
    return {
        "promptTokenCount": script.input,
        "cachedContentTokenCount": script.cached,
        "candidatesTokenCount": script.tokens,
        "thoughtsTokenCount": script.reasoning,
        "totalTokenCount": script.input + script.output,
    }
