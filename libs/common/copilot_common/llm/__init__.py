"""Chat models behind one interface: adapters, wrappers, the list of models, and what grounds and cites answers.

Importing this package imports no provider's SDK.
"""

from copilot_common.base.tokens import estimate_tokens
from copilot_common.llm.citations import CitationScanner
from copilot_common.llm.collecting import collect
from copilot_common.llm.estimates import estimate_usage
from copilot_common.llm.passages import split_passages
from copilot_common.llm.profiles import cost_usd, load_profiles
from copilot_common.llm.prompting import grounded_system
from copilot_common.llm.protocol import ChatModel
from copilot_common.llm.ranking import rank_passages
from copilot_common.llm.registry import ModelRegistry, ResolvedModel
from copilot_common.llm.types import (
    ChatEvent,
    ChatEvents,
    ChatMessage,
    ChatRequest,
    Completion,
    Finished,
    FinishReason,
    ModelProfile,
    Passage,
    Prices,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolCallReady,
    ToolResult,
    ToolSpec,
)

__all__ = [
    "ChatEvent",
    "ChatEvents",
    "ChatMessage",
    "ChatModel",
    "ChatRequest",
    "CitationScanner",
    "Completion",
    "FinishReason",
    "Finished",
    "ModelProfile",
    "ModelRegistry",
    "Passage",
    "Prices",
    "ResolvedModel",
    "TextDelta",
    "TokenUsage",
    "ToolCall",
    "ToolCallReady",
    "ToolResult",
    "ToolSpec",
    "collect",
    "cost_usd",
    "estimate_tokens",
    "estimate_usage",
    "grounded_system",
    "load_profiles",
    "rank_passages",
    "split_passages",
]
