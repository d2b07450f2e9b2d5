"""The first half of a message: what the model is asked, and the transaction that makes the turn.

The turn begins in one round trip, so its model and how much history fits are decided before the conversation is seen:
on the assumption that it has no model of its own, as most. Where that is wrong nothing is written, and the second try
knows.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg.errors

from copilot_common.base.errors import Conflict, CopilotError, InvalidInput, NotFound
from copilot_common.base.ids import MessageId, ProcessId, new_id
from copilot_common.base.tokens import BYTES_PER_TOKEN, estimate_tokens
from copilot_common.encryption import SEAL_OVERHEAD_BYTES, DecryptionError, Purpose, TenantCipher
from copilot_common.llm.registry import ModelRegistry, ResolvedModel
from copilot_common.llm.types import ChatMessage, ChatRequest, Passage
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain import idempotency
from copilot_domain.conversations.generation.rows import Begun, turn_params
from copilot_domain.conversations.grounding import select_passages
from copilot_domain.conversations.repository import open_optional, sql
from copilot_domain.conversations.types import Ask, ContextWanted

_ANSWER_TOKENS = 16_384  # kept free for the answer where the request names no maximum
_DOCUMENT_SHARE = 2  # documents may fill at most half of the window
_DOCUMENT_CHARACTERS = 1_000_000
CONTEXT_TOKENS = 4_000
"""Kept free for what a search finds, where one is wanted."""
_ATTEMPTS = 3  # a conversation that is changed between two tries, twice, is a busy one: 409
_OWN_ANSWER = "messages_pkey"
_SYSTEM_ONLY_LOOK = -1  # no system prompt is that short: nothing is begun, only told


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """What the starting transaction made. With a `fault` the model must not be asked: the answer fails with it."""

    answer_id: UUID
    position: int
    created_at: datetime
    model: ResolvedModel
    request: ChatRequest
    cipher: TenantCipher
    wanted: ContextWanted | None = None
    fault: CopilotError | None = None
    fence: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a turn stands on. `own_model` is what the conversation is assumed to name; `room` are the tokens left for
    its system prompt and history, None where the conversation must be looked at first."""

    model: ResolvedModel
    own_model: str | None
    passages: tuple[Passage, ...]
    room: int | None

    def params(self, ask: Ask, *, max_messages: int) -> dict[str, object]:
        known = [ask.content, *(passage.text for passage in self.passages)]
        room_bytes = (self.room or 0) * BYTES_PER_TOKEN
        return {
            "model": self.model.name,
            "is_model_given": ask.model is not None,
            "conversation_model": self.own_model,
            "max_system_bytes": _SYSTEM_ONLY_LOOK if self.room is None else room_bytes + SEAL_OVERHEAD_BYTES,
            "max_messages": max_messages,
            "max_bytes": room_bytes + max_messages * SEAL_OVERHEAD_BYTES,
            "input_tokens": sum(map(estimate_tokens, known)),
        }


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
        *,
        is_told: bool = True,
    ) -> StartedTurn:
        """`is_told`: somebody learns of the turn before its answer is stored. Otherwise it does not wait for the disk:
        the answer does, and stands behind it in PostgreSQL's log.

        Raises NotFound, InvalidInput, or Conflict (GENERATION_IN_PROGRESS).
        """
        _check_documents(ask)
        cipher = await self._db.cipher(principal)
        fixed = turn_params(
            principal,
            cipher,
            conversation_id=conversation_id,
            user_message_id=new_id(),
            answer_id=answer_id,
            ask=ask,
            process_id=self._process_id,
        )
        plan = await self._guess(ask)
        for _ in range(_ATTEMPTS):
            params = fixed | plan.params(ask, max_messages=self._max_messages)
            params["synchronous_commit"] = None if is_told else "off"
            begun = await self._begin(principal, params, answer_id, claim)
            if begun.created_at is not None and begun.answer_position is not None:
                request, fault = _opened(ask, plan, begun, cipher, conversation_id)
                return StartedTurn(
                    answer_id, begun.answer_position, begun.created_at, plan.model, request, cipher, ask.context, fault
                )
            system = _system_prompt(begun, cipher, conversation_id)
            plan = await plan_turn(ask, self._models.resolve(ask.model or begun.model), begun.model, system)
        raise _in_progress()

    async def _guess(self, ask: Ask) -> Plan:
        """What would be a 422 for the assumed model may be none for the conversation's own."""
        model = self._models.resolve(ask.model)
        try:
            return await plan_turn(ask, model, None, None)
        except InvalidInput:
            if ask.model is not None:
                raise
            return Plan(model, None, (), None)

    async def _begin(
        self, principal: Principal, params: dict[str, object], answer_id: MessageId, claim: idempotency.Claim | None
    ) -> Begun:
        try:
            begun = await self._send_begin(principal, params, answer_id, claim)
        except psycopg.errors.UniqueViolation as error:
            if error.diag.constraint_name != _OWN_ANSWER:
                raise _in_progress() from None
            # Sent twice, and the first one was still under way: now it is there to be found.
            begun = await self._send_begin(principal, params, answer_id, claim)
        if begun is None:
            raise NotFound("conversation")
        return begun

    async def _send_begin(
        self, principal: Principal, params: dict[str, object], answer_id: MessageId, claim: idempotency.Claim | None
    ) -> Begun | None:
        if claim is None:
            row = await self._db.call(sql["begin_turn"], params)
            return Begun(*row) if row else None
        async with self._db.transaction(principal) as tx:
            begun = await tx.fetch_one(Begun, sql["begin_turn"], params)
            if begun is not None and begun.created_at is not None:
                await idempotency.finish(tx, claim, status=201, body=None, resource_id=answer_id)
            return begun


async def plan_turn(ask: Ask, model: ResolvedModel, own_model: str | None, system: str | None) -> Plan:
    """Raises InvalidInput for what `model` cannot be asked."""
    _check_parameters(ask, model)
    usable = _usable_tokens(model)
    passages = await select_passages(ask.content, ask.documents, max_tokens=usable // _DOCUMENT_SHARE)
    fixed = estimate_tokens(ask.content) + sum(estimate_tokens(passage.text) for passage in passages)
    room = usable - _answer_tokens(ask, model) - fixed - (CONTEXT_TOKENS if ask.context else 0)
    left = room - estimate_tokens(system or "")
    if left < 0:
        field = "max_tokens" if left + (ask.max_tokens or 0) >= 0 else "content"
        raise InvalidInput({field: f"does not fit the window of {model.name} ({model.context_window} tokens)"})
    return Plan(model, own_model, passages, room)


def _opened(
    ask: Ask, plan: Plan, begun: Begun, cipher: TenantCipher, conversation_id: UUID
) -> tuple[ChatRequest, CopilotError | None]:
    """What the model is asked. The turn is stored: where what came before it does not open, its answer must fail."""
    try:
        return build_request(ask, plan, _system_prompt(begun, cipher, conversation_id), begun.history(cipher)), None
    except DecryptionError as error:
        return build_request(ask, plan, None, []), error


def _system_prompt(begun: Begun, cipher: TenantCipher, conversation_id: UUID) -> str | None:
    return open_optional(cipher, Purpose.CONVERSATION_SYSTEM_PROMPT, conversation_id, begun.system_prompt_sealed)


def build_request(ask: Ask, plan: Plan, system: str | None, newest_first: list[ChatMessage]) -> ChatRequest:
    left = (plan.room or 0) - estimate_tokens(system or "")
    return ChatRequest(
        model=plan.model.model,
        messages=(*_fitting(newest_first, left), ChatMessage("user", ask.content)),
        system=system,
        passages=plan.passages,
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


async def check_ask(ask: Ask, model: ResolvedModel, system: str | None) -> None:
    """Raises InvalidInput for what `model` cannot be asked."""
    _check_documents(ask)
    await plan_turn(ask, model, None, system)


def _check_documents(ask: Ask) -> None:
    if sum(len(document.text) for document in ask.documents) > _DOCUMENT_CHARACTERS:
        raise InvalidInput({"documents": f"may have {_DOCUMENT_CHARACTERS} characters together"})


def _in_progress() -> Conflict:
    message = "An answer is being generated in this conversation; wait for it or cancel it."
    return Conflict(message, code="GENERATION_IN_PROGRESS")
