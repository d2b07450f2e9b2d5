"""OpenAI's embeddings and Google's batchEmbedContents."""

import base64
import struct
from urllib.parse import unquote

import msgspec

from copilot_devstack.simulator.embeddings import embed
from copilot_devstack.simulator.script import Script
from copilot_devstack.simulator.wire import Ask, EmbeddingAsk

# Beyond what a float32 holds.
_TOO_LARGE = 1e39


class _OpenAIBody(msgspec.Struct):
    model: str
    input: str | list[str]
    dimensions: int | None = None
    encoding_format: str = "float"


class _Part(msgspec.Struct):
    text: str


class _Content(msgspec.Struct):
    parts: list[_Part]


class _GoogleRequest(msgspec.Struct, rename="camel"):
    model: str
    content: _Content
    task_type: str | None = None
    output_dimensionality: int | None = None


class _GoogleBody(msgspec.Struct):
    requests: list[_GoogleRequest]


_decode_openai = msgspec.json.Decoder(_OpenAIBody).decode
_decode_google = msgspec.json.Decoder(_GoogleBody).decode


class OpenAIEmbeddings:
    name = "openai"

    def read(self, path: str, body: bytes) -> Ask:
        request = _decode_openai(body)
        texts = (request.input,) if isinstance(request.input, str) else tuple(request.input)
        # As OpenAI: an empty text is a bad request.
        if not texts or not all(texts):
            raise ValueError("empty input")
        asked = EmbeddingAsk(texts, request.dimensions, request.encoding_format == "base64")
        return Ask(model=request.model, stream=False, tool_input=None, embedding=asked)

    def document(self, script: Script, ask: Ask) -> bytes:
        rows = _rows(script, ask)
        is_base64 = ask.embedding is not None and ask.embedding.base64
        items = [
            {"object": "embedding", "index": index, "embedding": _base64(row) if is_base64 else row}
            for index, row in enumerate(rows)
        ]
        # The last first: what says where a vector belongs is its index.
        answer: dict[str, object] = {"object": "list", "data": items[::-1], "model": ask.model}
        usage = {"prompt_tokens": script.input, "total_tokens": script.input}
        return msgspec.json.encode({**answer, "usage": usage} if script.usage else answer)

    def error(self, status: int) -> bytes:
        return msgspec.json.encode({"error": {"message": "simulated", "type": "simulated", "code": str(status)}})


class GoogleEmbeddings:
    name = "google"

    def read(self, path: str, body: bytes) -> Ask:
        requests = _decode_google(body).requests
        texts = tuple("".join(part.text for part in request.content.parts) for request in requests)
        if not requests or not all(texts):
            raise ValueError("empty content")
        model = unquote(path.rpartition("/models/")[2]).rpartition(":")[0]
        asked = EmbeddingAsk(texts, requests[0].output_dimensionality)
        return Ask(model=model, stream=False, tool_input=None, embedding=asked)

    def document(self, script: Script, ask: Ask) -> bytes:
        answer: dict[str, object] = {"embeddings": [{"values": row} for row in _rows(script, ask)]}
        usage = {"promptTokenCount": script.input}
        return msgspec.json.encode({**answer, "usageMetadata": usage} if script.usage else answer)

    def error(self, status: int) -> bytes:
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}
        details = [delay] if status == 429 else []
        error = {"code": status, "message": "simulated", "status": "SIMULATED", "details": details}
        return msgspec.json.encode({"error": error})


def _rows(script: Script, ask: Ask) -> list[list[float]]:
    asked = ask.embedding
    if asked is None:
        return []
    rows = [embed(text, asked.dimensions or script.dimensions) for text in asked.texts]
    if asked.spoilt == "short":
        rows.pop()
    elif asked.spoilt == "infinite":
        rows[-1][0] = _TOO_LARGE
    return rows


def _base64(row: list[float]) -> str:
    finite = [number if number < _TOO_LARGE else float("inf") for number in row]
    return base64.b64encode(struct.pack(f"<{len(row)}f", *finite)).decode()
