"""The second half of a message: the provider's stream becomes events, and the events an ending.

Runs as a task of its own: whoever asked may be gone, the answer is finished and paid for all the same.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic

from loguru import logger

from copilot_common.base.errors import CopilotError, ErrorCode, ProviderError
from copilot_common.llm.estimates import estimate_usage
from copilot_common.llm.profiles import cost_usd
from copilot_common.llm.types import Finished, FinishReason, TextDelta, TokenUsage
from copilot_domain.conversations.generation.events import MessageEnd, MessageStart, StreamError
from copilot_domain.conversations.generation.log import StreamLog
from copilot_domain.conversations.generation.rows import Ending
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.grounding import CitationCollector
from copilot_domain.conversations.types import AnswerUsage, EndStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the asking ended. `error` is for whoever waits for a plain answer; a stopped one has none."""

    status: EndStatus
    finish_reason: FinishReason
    code: ErrorCode | None = None
    text: str = ""
    error: CopilotError | None = None


_CANCELLED = Outcome("cancelled", "cancelled", "CANCELLED", "The answer was cancelled.")
_INTERRUPTED = Outcome("interrupted", "cancelled", "INTERRUPTED", "The server stopped before the answer was complete.")


class Generator:
    """Asks the model and keeps the record; knows nothing of rows."""

    def __init__(self, log: StreamLog) -> None:
        self._log = log

    async def run(self, generation: RunningGeneration) -> Outcome:
        """A provider's failure and a stop are outcomes, not exceptions."""
        generation.record.add(MessageStart(generation.message_id))
        if generation.streamed:
            self._log.append(generation, urgent=True)
        if generation.fault is not None:  # the turn was stored, but what was there before it cannot be read
            generation.usage = TokenUsage()
            return _failed(generation.fault)
        if generation.is_stopped():  # stopped before this task had its first turn
            return _stopped(generation)
        generation.is_asking = True
        try:
            finish_reason = await self._ask(generation)
        except asyncio.CancelledError:
            if not generation.is_stopped():
                raise
            return _stopped(generation)
        except CopilotError as error:
            return _failed(error)
        except Exception as error:  # an adapter's bug must end the answer, not leave it generating for ever
            logger.opt(exception=error).error("Generation failed")
            return _failed(CopilotError("The answer could not be generated."))
        return Outcome("completed", finish_reason)

    async def _ask(self, generation: RunningGeneration) -> FinishReason:
        collector = CitationCollector(generation.request.passages)
        if not generation.streamed:
            completion = await generation.model.chat.complete(generation.request)
            generation.usage = completion.usage
            self._add_text(generation, collector, completion.text)
            return completion.finish_reason
        async with aclosing(generation.model.chat.stream(generation.request)) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, TextDelta):
                        self._add_text(generation, collector, event.text)
                    elif isinstance(event, Finished):
                        generation.usage = event.usage
                        return event.finish_reason
        raise ProviderError("The provider's stream ended early.", provider=generation.model.provider, retryable=False)

    def _add_text(self, generation: RunningGeneration, collector: CitationCollector, text: str) -> None:
        if not text:
            return
        is_first = generation.first_token_at is None
        if is_first:
            generation.first_token_at = monotonic()
        generation.record.add_text(text)
        for citation in collector.feed(text):
            generation.record.add(citation)
        if generation.streamed:
            self._log.append(generation, urgent=is_first)


def _stopped(generation: RunningGeneration) -> Outcome:
    return _CANCELLED if generation.stop_reason == "cancelled" else _INTERRUPTED


def _failed(error: CopilotError) -> Outcome:
    return Outcome("failed", "error", error.code, error.message, error)


def conclude(generation: RunningGeneration, outcome: Outcome) -> tuple[Ending, MessageEnd | StreamError]:
    """What to store, and the last event, which may be shown once it is stored."""
    usage = generation.usage or estimate_usage(generation.request, generation.record.content)
    cost = cost_usd(usage, generation.model.prices)
    last: MessageEnd | StreamError
    if outcome.code is None:
        last = MessageEnd(generation.message_id, outcome.finish_reason, answer_usage(usage, cost))
    else:
        last = StreamError(outcome.code, outcome.text)
    ending = Ending(
        status=outcome.status,
        content=generation.record.content,
        boundaries=generation.record.boundaries(last),
        citations=list(generation.record.citations()),
        finish_reason=outcome.finish_reason,
        error_code=outcome.code,
        usage=usage,
        cost_usd=cost,
    )
    return ending, last


def answer_usage(usage: TokenUsage, cost: Decimal | None) -> AnswerUsage:
    return AnswerUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cost_usd=cost,
        estimated=usage.estimated,
    )
