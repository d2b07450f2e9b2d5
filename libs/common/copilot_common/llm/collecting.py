"""A stream of events read to its end."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from copilot_common.llm.types import ChatEvents, Completion, Finished, TextDelta, TokenUsage, ToolCall, ToolCallReady


async def collect(batches: AsyncGenerator[ChatEvents, None]) -> Completion:
    text: list[str] = []
    calls: list[ToolCall] = []
    end = Finished("error", TokenUsage())
    async with aclosing(batches):
        async for batch in batches:
            for event in batch:
                match event:
                    case TextDelta():
                        text.append(event.text)
                    case ToolCallReady():
                        calls.append(event.call)
                    case Finished():
                        end = event
    return Completion("".join(text), tuple(calls), end.finish_reason, end.usage)
