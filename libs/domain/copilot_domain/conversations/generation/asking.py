"""What to search for, given a conversation: a follow-up speaks of what was asked before it."""

from collections.abc import Sequence
from typing import Final

from copilot_common.llm.ranking import terms
from copilot_common.llm.types import ChatMessage
from copilot_domain.conversations.generation.pointing import points_back

QUERY_CHARACTERS: Final = 10_000  # as a search takes
_EARLIER: Final = 2  # questions: what was asked before them is another subject
_FEW_TERMS: Final = 4  # "And in winter?": fewer than this say too little alone


def search_query(messages: Sequence[ChatMessage]) -> str:
    """The last question; before it, where it can't stand alone, the questions that it follows."""
    questions = [message.content for message in messages if message.role == "user"]
    asked = questions[-1:]
    for earlier in reversed(questions[-1 - _EARLIER : -1]):
        if _stands_alone(asked[0]):
            break
        asked.insert(0, earlier)
    return "\n".join(asked)[-QUERY_CHARACTERS:]


def _stands_alone(question: str) -> bool:
    return len(set(terms(question))) >= _FEW_TERMS and not points_back(question)
