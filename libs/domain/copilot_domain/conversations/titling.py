"""The handler of `conversation.title`: a few words for a conversation that its owner gave none."""

from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from copilot_common.base.ids import new_id
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.llm.profiles import cost_usd
from copilot_common.llm.registry import ModelRegistry, ResolvedModel
from copilot_common.llm.types import ChatMessage, ChatRequest, Completion
from copilot_common.queue import Job, complete
from copilot_common.tenancy import TenantDatabase
from copilot_domain.conversations.jobs import TitleConversation
from copilot_domain.conversations.repository import sql

_INSTRUCTION = (
    "Give this conversation a title of at most six words, in its own language. Answer with the title alone, without"
    " quotation marks."
)
_EXCERPT = 2_000  # characters of question and answer: what a conversation is about shows early
_MAX_TOKENS = 64
_MAX_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class _Untitled:
    question_id: UUID
    question_sealed: bytes
    answer_id: UUID
    answer_sealed: bytes
    model: str | None

    def open(self, cipher: TenantCipher) -> tuple[str, str]:
        """Question and answer."""
        return (
            cipher.open_text(Purpose.MESSAGE_CONTENT, self.question_id, self.question_sealed),
            cipher.open_text(Purpose.MESSAGE_CONTENT, self.answer_id, self.answer_sealed),
        )


class ConversationTitler:
    """Called with the job. Without a language model the title is how the question begins."""

    def __init__(self, db: TenantDatabase, models: ModelRegistry) -> None:
        self._db = db
        self._models = models

    async def __call__(self, job: Job[TitleConversation]) -> None:
        conversation_id = job.payload.conversation_id
        async with self._db.transaction(job.principal) as tx:
            found = await tx.fetch_one(_Untitled, sql["untitled_conversation"], _key(job))
            cipher = await tx.cipher()
        if found is None:
            return
        question, answer = found.open(cipher)
        model = self._models.resolve(found.model)
        began = monotonic()
        completion = await _ask(model, question, answer)
        title = _clean(completion.text if completion else "") or _clean(question)
        sealed = cipher.seal_text(Purpose.CONVERSATION_TITLE, conversation_id, title)
        async with self._db.transaction(job.principal) as tx:
            await complete(tx, job)
            await tx.fetch_value(sql["set_title"], _key(job) | {"title_sealed": sealed})
            if completion is not None:
                total_ms = round((monotonic() - began) * 1000)
                await tx.execute(sql["bill_title"], _bill(job, model, completion, total_ms))


async def _ask(model: ResolvedModel, question: str, answer: str) -> Completion | None:
    if model.provider == "local":
        return None
    excerpt = f"{question[:_EXCERPT]}\n\n---\n\n{answer[:_EXCERPT]}"
    request = ChatRequest(
        model=model.model, messages=(ChatMessage("user", excerpt),), system=_INSTRUCTION, max_tokens=_MAX_TOKENS
    )
    return await model.chat.complete(request)


def _clean(text: str) -> str:
    """One line, no quotation marks around it, cut at a word."""
    line = " ".join(text.split()).strip("\"'“”„«»`*# ")
    if len(line) <= _MAX_CHARACTERS:
        return line
    return line[: _MAX_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"


def _key(job: Job[TitleConversation]) -> dict[str, object]:
    return {"tenant_id": job.tenant_id, "id": job.payload.conversation_id}


def _bill(
    job: Job[TitleConversation], model: ResolvedModel, completion: Completion, total_ms: int
) -> dict[str, object]:
    usage = completion.usage
    return {
        "tenant_id": job.tenant_id,
        "call_id": new_id(),
        "user_id": job.user_id,
        "api_key_id": job.principal.api_key_id,
        "conversation_id": job.payload.conversation_id,
        "provider": model.provider,
        "model": model.name,
        "finish_reason": completion.finish_reason,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost_usd": cost_usd(usage, model.prices),
        "estimated": usage.estimated,
        "total_ms": total_ms,
    }
