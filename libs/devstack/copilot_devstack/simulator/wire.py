"""What the three wire formats have in common for the simulator."""

from collections.abc import Hashable
from typing import Protocol, runtime_checkable

import msgspec

from copilot_devstack.simulator.script import Fault, Script


class Ask(msgspec.Struct, frozen=True):
    """A request, as far as the answer depends on it. `tool_input` is None once the tool's result has come."""

    model: str
    stream: bool
    tool_input: str | None
    wants_usage: bool = True
    embedding: "EmbeddingAsk | None" = None
    reranking: "RerankAsk | None" = None


class EmbeddingAsk(msgspec.Struct, frozen=True):
    """`dimensions` is None where the request leaves them to the model; `spoilt` is what is wrong with the answer."""

    texts: tuple[str, ...]
    dimensions: int | None
    base64: bool = False
    spoilt: Fault = "none"


class RerankAsk(msgspec.Struct, frozen=True):
    """`is_tei`: in TEI's words; `spoilt` is what is wrong with the answer."""

    query: str
    texts: tuple[str, ...]
    is_tei: bool = False
    spoilt: Fault = "none"


class Frames(msgspec.Struct, frozen=True):
    """A streamed answer: what stands before the words, one frame a word, what ends it."""

    head: bytes
    words: tuple[bytes, ...]
    tail: bytes


class WireFormat(Hashable, Protocol):
    """One provider's way to write requests and answers. Hashable, because rendered answers are kept."""

    @property
    def name(self) -> str: ...

    def read(self, path: str, body: bytes) -> Ask:
        """Raises msgspec.DecodeError (a ValidationError for a wrong shape)."""
        ...

    def document(self, script: Script, ask: Ask) -> bytes: ...

    def error(self, status: int) -> bytes: ...


@runtime_checkable
class StreamFormat(WireFormat, Protocol):
    """A format whose answers can also be streamed."""

    @property
    def malformed(self) -> bytes:
        """An event whose JSON is broken."""
        ...

    @property
    def error_event(self) -> bytes:
        """How this provider reports a failure within a stream."""
        ...

    def frames(self, script: Script, ask: Ask) -> Frames: ...


def data_event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def named_event(name: str, value: dict[str, object]) -> bytes:
    return f"event: {name}\n".encode() + data_event({"type": name, **value})


def tool_arguments(ask: Ask) -> dict[str, str]:
    return {"input": ask.tool_input or ""}


def calls_tool(script: Script, ask: Ask) -> bool:
    return bool(script.tool) and ask.tool_input is not None
