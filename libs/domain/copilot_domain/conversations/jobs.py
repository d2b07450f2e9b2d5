"""Background work of conversations: which jobs there are, and what their payloads hold (ids and settings only)."""

from uuid import UUID

from copilot_common.queue import WORKFLOW_QUEUE, JobClass, JobPayload, JobType
from copilot_domain.conversations.types import ContextWanted


class GenerateMessage(JobPayload, frozen=True, kw_only=True):
    """`model` is what the request named, if it named one. `context` has no query of its own: that would be content."""

    conversation_id: UUID
    message_id: UUID
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    context: ContextWanted | None = None


class TitleConversation(JobPayload, frozen=True):
    conversation_id: UUID


GENERATE_MESSAGE = JobType("message.generate", GenerateMessage, WORKFLOW_QUEUE, JobClass.WAITED_FOR, max_failures=5)
TITLE_CONVERSATION = JobType(
    "conversation.title", TitleConversation, WORKFLOW_QUEUE, JobClass.DEFERRABLE, max_failures=3
)
