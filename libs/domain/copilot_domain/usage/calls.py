"""The record of every call to a provider: the bill, whatever the outcome."""

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

from copilot_common.base.ids import new_id
from copilot_common.llm.types import TokenUsage
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction

_sql = Queries(__package__, "calls.sql")

Outcome = Literal["completed", "failed", "cancelled", "interrupted"]


@dataclass(frozen=True, slots=True)
class LlmCall:
    """`cost_usd` is None where the model's price is unknown; times are whole milliseconds from the call's begin."""

    conversation_id: UUID
    message_id: UUID
    provider: str
    model: str
    outcome: Outcome
    finish_reason: str | None
    cost_usd: Decimal | None
    first_token_ms: int | None
    total_ms: int


async def record_call(tx: Transaction, call: LlmCall, usage: TokenUsage) -> None:
    """Written in the transaction that ends the answer, under the principal that asked."""
    await tx.execute(
        _sql["insert_call"],
        {
            **asdict(call),
            "tenant_id": tx.principal.tenant_id,
            "id": new_id(),
            "user_id": tx.principal.acting_user,
            "api_key_id": tx.principal.api_key_id,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "estimated": usage.estimated,
        },
    )
