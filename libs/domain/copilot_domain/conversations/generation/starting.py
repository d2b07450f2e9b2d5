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
from copilot_domain.conversations.generation.rows import OpenTurn, insert_turn, open_turn, read_history
from copilot_domain.conversations.grounding import select_passages
from copilot_domain.conversations.repository import ConversationRepository, open_optional
from copilot_domain.conversations.types import Ask

_ANSWER_TOKENS = 16_384  # kept free for the answer where the request names no maximum
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

    def __init__(
        self,
        db: TenantDatabase,
        models: ModelRegistry,
        repository: ConversationRepository,
        *,
        process_id: ProcessId,
        max_messages: int,
    ) -> None:
        self._db = db
        self._models = models
        self._repository = repository
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
        passages = await self._passages(principal, conversation_id, explicit, ask)
        async with self._db.transaction(principal) as tx:
            turn = await open_turn(tx, conversation_id)
            model = explicit or self._models.resolve(turn.model)
            _check_parameters(ask, model)
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

    async def _passages(
        self, principal: Principal, conversation_id: UUID, explicit: ResolvedModel | None, ask: Ask
    ) -> tuple[Passage, ...]:
        """Splitting and ranking a large document takes a while: before the turn's transaction, not in it."""
        if not ask.documents:
            return ()
        _check_documents(ask)
        model = explicit
        if model is None:
            async with self._db.transaction(principal) as tx:
                model = self._models.resolve((await self._repository.get(tx, conversation_id)).model)
        return await select_passages(ask.content, ask.documents, max_tokens=_usable_tokens(model) // _DOCUMENT_SHARE)

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
        left = _usable_tokens(model) - _answer_tokens(ask, model) - sum(map(estimate_tokens, fixed))
        if left < 0:
            field = "max_tokens" if left + (ask.max_tokens or 0) >= 0 else "content"
            raise InvalidInput({field: f"does not fit the window of {model.name} ({model.context_window} tokens)"})
        newest_first = await read_history(tx, conversation_id, max_messages=self._max_messages, max_tokens=left)
        return ChatRequest(
            model=model.model,
            messages=(*_fitting(newest_first, left), ChatMessage("user", ask.content)),
            system=system,
            passages=passages,
            temperature=ask.temperature,
            max_tokens=ask.max_tokens,
        )


def _usable_tokens(model: ResolvedModel) -> int:
    """Our count of tokens is an estimate, off by a quarter for some texts: that much of the window stays free."""
    return model.context_window * 3 // 4


def _answer_tokens(ask: Ask, model: ResolvedModel) -> int:
    return ask.max_tokens or min(_ANSWER_TOKENS, model.max_output_tokens, model.context_window // 4)


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


def _check_parameters(ask: Ask, model: ResolvedModel) -> None:
    """What the provider would refuse: said here it is a 422 and not the provider's failure."""
    if model.profile is None or model.provider == "local":
        return
    if ask.temperature is not None and "temperature" not in model.profile.capabilities:
        raise InvalidInput({"temperature": f"{model.name} takes none; leave it out"})
    if ask.max_tokens is not None and ask.max_tokens > model.max_output_tokens:
        raise InvalidInput({"max_tokens": f"{model.name} gives at most {model.max_output_tokens}"})


def _check_documents(ask: Ask) -> None:
    if sum(len(document.text) for document in ask.documents) > _DOCUMENT_CHARACTERS:
        raise InvalidInput({"documents": f"may have {_DOCUMENT_CHARACTERS} characters together"})
