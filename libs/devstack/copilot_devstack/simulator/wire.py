"""What the three wire formats have in common for the simulator."""

from collections.abc import Hashable
from typing import Protocol

import msgspec

from copilot_devstack.simulator.script import Script


class Ask(msgspec.Struct, frozen=True):
    """A request, as far as the answer depends on it. `tool_input` is None once the tool's result has come."""

    model: str
    stream: bool
    tool_input: str | None
    wants_usage: bool = True


class Frames(msgspec.Struct, frozen=True):
    """A streamed answer: what stands before the words, one frame a word, what ends it."""

    head: bytes
    words: tuple[bytes, ...]
    tail: bytes


class WireFormat(Hashable, Protocol):
    """One provider's way to write requests and answers. Hashable, because rendered answers are kept."""

    @property
    def name(self) -> str: ...

    @property
    def malformed(self) -> bytes:
        """An event whose JSON is broken."""
        ...

    @property
    def error_event(self) -> bytes:
        """How this provider reports a failure within a stream."""
        ...

    def read(self, path: str, body: bytes) -> Ask:
        """Raises msgspec.DecodeError (a ValidationError for a wrong shape)."""
        ...

    def frames(self, script: Script, ask: Ask) -> Frames: ...

    def document(self, script: Script, ask: Ask) -> bytes: ...

    def error(self, status: int) -> bytes: ...


def data_event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def named_event(name: str, value: dict[str, object]) -> bytes:
    return f"event: {name}\n".encode() + data_event({"type": name, **value})


def tool_arguments(ask: Ask) -> dict[str, str]:
    return {"input": ask.tool_input or ""}


def calls_tool(script: Script, ask: Ask) -> bool:
    return bool(script.tool) and ask.tool_input is not None
