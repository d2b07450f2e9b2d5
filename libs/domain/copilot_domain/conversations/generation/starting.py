"""The first half of a message: what the model is asked, and the transaction that makes the turn."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from copilot_common.base.errors import InvalidInput
from copilot_common.base.ids import MessageId, ProcessId, new_id
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.llm.estimates import estimate_tokens, estimate_usage
from copilot_common.llm.registry import ModelRegistry, ResolvedModel
from copilot_common.llm.types import ChatMessage, ChatRequest, Passage
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain import idempotency
from copilot_domain.conversations.generation.rows import OpenTurn, insert_turn, open_turn
from copilot_domain.conversations.grounding import select_passages
from copilot_domain.conversations.repository import open_optional
from copilot_domain.conversations.types import Ask

_ANSWER_TOKENS = 1_024  # kept free for the answer where the request names no maximum
_DOCUMENT_SHARE = 2  # documents may fill at most half of the window
_DOCUMENT_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """What the starting transaction made."""

    answer_id: UUID
    created_at: datetime
    model: ResolvedModel
    request: ChatRequest
    cipher: TenantCipher


class TurnStarter:
    """Turns an Ask into rows and a request to a model."""

    def __init__(self, db: TenantDatabase, models: ModelRegistry, *, process_id: ProcessId, max_messages: int) -> None:
        self._db = db
        self._models = models
        self._process_id = process_id
        self._max_messages = max_messages

    async def start(
        self,
        principal: Principal,
        conversation_id: UUID,
        answer_id: MessageId,
        ask: Ask,
        claim: idempotency.Claim | None,
    ) -> StartedTurn:
        """Raises NotFound, InvalidInput, or Conflict (GENERATION_IN_PROGRESS)."""
        explicit = self._models.resolve(ask.model) if ask.model else None
        _check_documents(ask)
        # Splitting and ranking a large document takes a while: before the transaction, not in it. The window is that
        # of the model known so far; a conversation's own model is only known inside.
        window = (explicit or self._models.resolve(None)).context_window
        passages = await select_passages(ask.content, ask.documents, max_tokens=window // _DOCUMENT_SHARE)
        async with self._db.transaction(principal) as tx:
            turn = await open_turn(tx, conversation_id, max_messages=self._max_messages, max_history_tokens=window)
            model = explicit or self._models.resolve(turn.model)
            _check_temperature(ask, model)
            request = await self._request(tx, conversation_id, turn, model, ask, passages)
            created_at = await insert_turn(
                tx,
                conversation_id=conversation_id,
                position=turn.message_count,
                user_message_id=new_id(),
                answer_id=answer_id,
                ask=ask,
                model=model.name,
                input_tokens=estimate_usage(request, "").input_tokens,
                process_id=self._process_id,
            )
            if claim is not None:
                await idempotency.finish(tx, claim, status=201, body=None, resource_id=answer_id)
            return StartedTurn(answer_id, created_at, model, request, await tx.cipher())

    async def _request(
        self,
        tx: Transaction,
        conversation_id: UUID,
        turn: OpenTurn,
        model: ResolvedModel,
        ask: Ask,
        passages: tuple[Passage, ...],
    ) -> ChatRequest:
        cipher = await tx.cipher()
        system = open_optional(cipher, Purpose.CONVERSATION_SYSTEM_PROMPT, conversation_id, turn.system_prompt_sealed)
        fixed = [system or "", ask.content, *(passage.text for passage in passages)]
        left = model.context_window - (ask.max_tokens or _ANSWER_TOKENS) - sum(map(estimate_tokens, fixed))
        if left < 0:
            raise InvalidInput({"content": f"does not fit the window of {model.name} ({model.context_window} tokens)"})
        return ChatRequest(
            model=model.model,
            messages=(*_fitting(turn.history(cipher), left), ChatMessage("user", ask.content)),
            system=system,
            passages=passages,
            temperature=ask.temperature,
            max_tokens=ask.max_tokens,
        )


def _fitting(newest_first: list[ChatMessage], max_tokens: int) -> list[ChatMessage]:
    """The newest messages that fit, oldest first; an answer whose question was cut off goes too."""
    kept: list[ChatMessage] = []
    for message in newest_first:
        max_tokens -= estimate_tokens(message.content)
        if max_tokens < 0:
            break
        kept.append(message)
    while kept and kept[-1].role == "assistant":
        kept.pop()
    return kept[::-1]


def _check_temperature(ask: Ask, model: ResolvedModel) -> None:
    """Some newer models refuse any temperature; said here it is a 422 and not the provider's failure."""
    if ask.temperature is None or model.profile is None or model.provider == "local":
        return
    if "temperature" not in model.profile.capabilities:
        raise InvalidInput({"temperature": f"{model.name} takes none; leave it out"})


def _check_documents(ask: Ask) -> None:
    if sum(len(document.text) for document in ask.documents) > _DOCUMENT_CHARACTERS:
        raise InvalidInput({"documents": f"may have {_DOCUMENT_CHARACTERS} characters together"})
