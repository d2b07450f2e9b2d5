"""What goes into a chat model and what comes out, the same for every provider.

Token counts: `input_tokens` includes `cached_tokens`; `output_tokens` includes `reasoning_tokens`.
"""

from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

FinishReason = Literal["stop", "length", "tool_use", "content_filter", "error", "cancelled"]


class ToolCall(msgspec.Struct, frozen=True):
    """A model's wish to call a tool. `arguments` is a JSON object, decoded."""

    id: str
    name: str
    arguments: dict[str, object]


class ToolResult(msgspec.Struct, frozen=True):
    tool_call_id: str
    content: str
    is_error: bool = False


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool offered to the model. `input_schema` is a JSON Schema of type object."""

    name: str
    description: str
    input_schema: dict[str, object]


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn. Assistant turns may carry tool calls, user turns the results of them."""

    role: Literal["user", "assistant"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


class Passage(msgspec.Struct, frozen=True):
    """A stretch of a source the answer may stand on; the model cites it as `[number]`.

    `start` and `end` are character offsets into the source text, so that `source[start:end] == text`. The source is a
    document that came with the question, or an item of the tenant's context.
    """

    number: int
    name: str
    text: str
    start: int
    end: int
    source: Literal["document", "context"] = "document"
    item_id: UUID | None = None
    chunk_id: UUID | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`model` is the provider's own id. `messages` is never empty and ends with a user turn."""

    model: str
    messages: tuple[ChatMessage, ...]
    system: str | None = None
    passages: tuple[Passage, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None


class TokenUsage(msgspec.Struct, frozen=True):
    """`estimated` is true where the provider sent no final report."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


class Completion(msgspec.Struct, frozen=True):
    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    usage: TokenUsage


class TextDelta(msgspec.Struct, frozen=True, tag="text_delta"):
    text: str


class ToolCallReady(msgspec.Struct, frozen=True, tag="tool_call"):
    """A complete tool call; partial argument JSON never leaves an adapter."""

    call: ToolCall


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """Exactly one ends every stream that did not raise."""

    finish_reason: FinishReason
    usage: TokenUsage


ChatEvent = TextDelta | ToolCallReady | Finished

ChatEvents = list[ChatEvent]
"""What came together: a provider's fast answer arrives many events a read, a slow one token by token. Never empty."""


class Prices(msgspec.Struct, frozen=True):
    """USD per million tokens, valid from `as_of` (ISO date)."""

    input: Decimal
    output: Decimal
    cached_input: Decimal
    as_of: str


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of models.toml. `prices` is None for models we do not list: their cost is unknown."""

    alias: str
    provider: str
    model: str
    context_window: int
    max_output_tokens: int
    capabilities: tuple[str, ...] = ()
    prices: Prices | None = None
