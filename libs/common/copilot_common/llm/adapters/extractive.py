"""`local/extractive`: no language model at all. It answers with the best passages of what it was given."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Final

from copilot_common.base.tokens import estimate_tokens
from copilot_common.llm.collecting import collect
from copilot_common.llm.estimates import estimate_usage
from copilot_common.llm.ranking import rank_passages
from copilot_common.llm.types import ChatEvents, ChatRequest, Completion, Finished, FinishReason, Passage, TextDelta

_FOUND: Final = "No language model is configured; these are the passages of your documents that match best.\n\n"
_NOT_FOUND: Final = (
    "No language model is configured, and no passage of your documents has words of your question;"
    " this is how they begin.\n\n"
)
_NOTHING_GIVEN: Final = (
    "No language model is configured, so I can only quote from documents, and none were given. Attach documents to your"
    " message, or configure a provider: set ANTHROPIC_API_KEY, OPENAI_API_KEY or GOOGLE_API_KEY (or OPENAI_BASE_URL for"
    " a server of your own, such as Ollama) and restart."
)
_MAX_QUOTED: Final = 3
# Ranking takes about 0.1 s a megabyte: more than this is done in a thread, so that no other stream waits.
_INLINE_CHARS: Final = 20_000
# Between so many words other streams get their turn.
_WORDS_PER_TURN: Final = 32

_WORD: Final = re.compile(r"\s*\S+\s?|\s+")
_CITATION_LIKE: Final = re.compile(r"\[(?=[\d,;–\-\s]*\])")


class ExtractiveModel:
    """A ChatModel that quotes and cites. Tools and temperature mean nothing to it."""

    provider = "local"

    async def complete(self, request: ChatRequest) -> Completion:
        return await collect(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvents, None]:
        if sum(len(passage.text) for passage in request.passages) > _INLINE_CHARS:
            answer = await asyncio.to_thread(_answer, request)
        else:
            answer = _answer(request)
        said: list[str] = []
        reason: FinishReason = "stop"
        budget = float("inf") if request.max_tokens is None else request.max_tokens
        for index, word in enumerate(_WORD.findall(answer), 1):
            budget -= estimate_tokens(word)
            if budget < 0:
                reason = "length"
                break
            said.append(word)
            yield [TextDelta(word)]
            if index % _WORDS_PER_TURN == 0:
                await asyncio.sleep(0)
        yield [Finished(reason, estimate_usage(request, "".join(said)))]

    async def aclose(self) -> None:
        """Nothing is open."""


def _answer(request: ChatRequest) -> str:
    if not request.passages:
        return _NOTHING_GIVEN
    for query in _queries(request):
        best = rank_passages(query, request.passages, _MAX_QUOTED)
        if best:
            return _FOUND + _quotes(best)
    return _NOT_FOUND + _quotes(list(request.passages[:_MAX_QUOTED]))


def _queries(request: ChatRequest) -> Iterator[str]:
    """The last question first. A follow-up (“and why?”) may have no word of its own: then the ones before it."""
    return (message.content for message in reversed(request.messages) if message.role == "user" and message.content)


def _quotes(passages: list[Passage]) -> str:
    return "\n\n".join(_quote(passage) for passage in passages)


def _quote(passage: Passage) -> str:
    # A source may hold `[2]` itself: escaped, so that it reads the same and is no citation of ours.
    text = _CITATION_LIKE.sub(r"\\[", passage.text)
    lines = "\n".join(f"> {line}" for line in text.split("\n"))
    return f"{lines} [{passage.number}]\n>\n> — {passage.name}"
