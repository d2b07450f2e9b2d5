"""Tool calls put together from pieces."""

import secrets

import msgspec

from copilot_common.llm.types import ToolCall

_arguments = msgspec.json.Decoder(dict[str, object])


class ToolCallParts:
    """One call while its arguments' JSON is still arriving."""

    def __init__(self, call_id: str | None, name: str) -> None:
        self.id = call_id
        self.name = name
        self._json: list[str] = []

    def add(self, piece: str) -> None:
        self._json.append(piece)

    def build(self) -> ToolCall:
        """Raises msgspec.DecodeError where the arguments are no JSON object. No arguments at all are an empty one."""
        text = "".join(self._json)
        return ToolCall(self.id or new_call_id(), self.name, _arguments.decode(text) if text.strip() else {})


def new_call_id() -> str:
    """For the providers that give none."""
    return f"call_{secrets.token_hex(8)}"
