"""The first half of a message: what the model is asked, and the transaction that makes the turn."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg.errors

from copilot_common.base.errors import InvalidInput
from copilot_common.base.ids import MessageId, ProcessId, new_id
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.llm.estimates import estimate_tokens, estimate_usage
from copilot_common.llm.registry import ModelRegistry, ResolvedModel
from copilot_common.llm.types import ChatMessage, ChatRequest
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain import idempotency
from copilot_domain.conversations.generation.rows import OpenTurn, generation_in_progress, read_turn, turn_params
from copilot_domain.conversations.grounding import select_passages
from copilot_domain.conversations.repository import open_optional, sql
from copilot_domain.conversations.types import Ask

_ANSWER_TOKENS = 16_384  # kept free for the answer where the request names no maximum
_DOCUMENT_SHARE = 2  # documents may fill at most half of the window
_DOCUMENT_CHARACTERS = 1_000_000
_ATTEMPTS = 3  # a conversation that two others got ahead in meanwhile is a busy one: 409


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
        *,
        process_id: ProcessId,
        max_messages: int,
    ) -> None:
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
        cipher = await self._db.cipher(principal)
        for _ in range(_ATTEMPTS):
            # No lock from here to the begin: it finds out if another turn came between, and then nothing was written.
            turn = await read_turn(
                self._db,
                principal,
                cipher,
                conversation_id,
                max_messages=self._max_messages,
                max_tokens=self._models.widest_window,
            )
            model = explicit or self._models.resolve(turn.model)
            _check_parameters(ask, model)
            request = await self._request(cipher, conversation_id, turn, model, ask)
            params = turn_params(
                principal,
                cipher,
                conversation_id=conversation_id,
                message_count=turn.message_count,
                user_message_id=new_id(),
                answer_id=answer_id,
                ask=ask,
                model=model.name,
                input_tokens=estimate_usage(request, "").input_tokens,
                process_id=self._process_id,
            )
            created_at = await self._begin(principal, params, answer_id, claim)
            if created_at is not None:
                return StartedTurn(answer_id, created_at, model, request, cipher)
        raise generation_in_progress()

    async def _begin(
        self, principal: Principal, params: dict[str, object], answer_id: MessageId, claim: idempotency.Claim | None
    ) -> datetime | None:
        """When the turn began; None where the conversation has moved on since it was read."""
        try:
            if claim is None:
                row = await self._db.call(sql["begin_turn"], params)
                return row[0] if row else None
            async with self._db.transaction(principal) as tx:
                created_at = await tx.fetch_value(sql["begin_turn"], params)
                if not isinstance(created_at, datetime):
                    return None
                await idempotency.finish(tx, claim, status=201, body=None, resource_id=answer_id)
                return created_at
        except psycopg.errors.UniqueViolation:  # messages_one_generation: the last word on two at once
            raise generation_in_progress() from None

    async def _request(
        self, cipher: TenantCipher, conversation_id: UUID, turn: OpenTurn, model: ResolvedModel, ask: Ask
    ) -> ChatRequest:
        usable = _usable_tokens(model)
        passages = await select_passages(ask.content, ask.documents, max_tokens=usable // _DOCUMENT_SHARE)
        system = open_optional(cipher, Purpose.CONVERSATION_SYSTEM_PROMPT, conversation_id, turn.system_prompt_sealed)
        fixed = [system or "", ask.content, *(passage.text for passage in passages)]
        left = usable - _answer_tokens(ask, model) - sum(map(estimate_tokens, fixed))
        if left < 0:
            field = "max_tokens" if left + (ask.max_tokens or 0) >= 0 else "content"
            raise InvalidInput({field: f"does not fit the window of {model.name} ({model.context_window} tokens)"})
        return ChatRequest(
            model=model.model,
            messages=(*_fitting(turn.history, left), ChatMessage("user", ask.content)),
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
