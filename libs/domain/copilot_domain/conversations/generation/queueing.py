"""A question whose answer is made in the background: the turn and its job, in one transaction."""

from uuid import UUID

from copilot_common.base.errors import Conflict, InvalidInput, Unavailable
from copilot_common.base.ids import new_id
from copilot_common.llm.registry import ModelRegistry
from copilot_common.queue import Ledger, NewJob
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_common.tenancy.audit import AuditDetails, record_audit
from copilot_domain import idempotency
from copilot_domain.conversations.generation.rows import sealed_turn
from copilot_domain.conversations.generation.starting import check_ask
from copilot_domain.conversations.jobs import GENERATE_MESSAGE, GenerateMessage
from copilot_domain.conversations.repository import ConversationRepository, sql
from copilot_domain.conversations.types import Ask, Message

_MAX_WAITING = 20  # of one conversation: each that waits looks once a second whether its turn has come


class TurnQueue:
    def __init__(self, db: TenantDatabase, models: ModelRegistry, ledger: Ledger) -> None:
        self._db = db
        self._models = models
        self._ledger = ledger
        self._repository = ConversationRepository()

    async def queue(
        self, principal: Principal, conversation_id: UUID, ask: Ask, claim: idempotency.Claim | None
    ) -> Message:
        """The pending answer. Raises NotFound, Conflict when too many wait, or InvalidInput for what its model could
        not be asked."""
        if ask.context is not None and ask.context.query is not None:
            raise InvalidInput({"context.search": "must be true for a background message: the question is the query"})
        async with self._db.transaction(principal) as tx:
            conversation = (await self._repository.get(tx, conversation_id)).open(await tx.cipher())
        model = self._models.resolve(ask.model or conversation.model)
        await check_ask(ask, model, conversation.system_prompt)
        async with self._db.transaction(principal) as tx:
            answer_id = await self._insert(tx, conversation_id, ask)
            if claim is not None:
                await idempotency.finish(tx, claim, status=202, body=None, resource_id=answer_id)
            return (await self._repository.message(tx, conversation_id, answer_id)).open(await tx.cipher())

    async def _insert(self, tx: Transaction, conversation_id: UUID, ask: Ask) -> UUID:
        key = {"tenant_id": tx.principal.tenant_id, "conversation_id": conversation_id}
        if await tx.fetch_value(sql["are_enough_waiting"], {**key, "enough": _MAX_WAITING}):
            raise Conflict(f"{_MAX_WAITING} answers of this conversation are waiting already; let some of them end.")
        answer_id = new_id()
        payload = GenerateMessage(
            conversation_id=conversation_id,
            message_id=answer_id,
            model=ask.model,
            temperature=ask.temperature,
            max_tokens=ask.max_tokens,
            context=ask.context,
        )
        job_id = await self._ledger.enqueue(tx, NewJob(type=GENERATE_MESSAGE, payload=payload))
        turn = sealed_turn(await tx.cipher(), user_message_id=new_id(), answer_id=answer_id, ask=ask)
        params = {
            **turn,
            **key,
            "user_id": tx.principal.acting_user,
            "job_id": job_id,
        }
        if await tx.fetch_value(sql["queue_turn"], params) is None:
            raise Unavailable("The conversation has just been changed; try again.")
        details: AuditDetails = {"conversation_id": str(conversation_id), "background": True}
        await record_audit(tx, "message.created", answer_id, details=details)
        return answer_id
