"""Rows of triggers and of the calls they have taken, unsealed into the domain's types."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import HashPurpose, Purpose, TenantCipher
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Role, Transaction
from copilot_domain.workflows.triggers.types import VerifiedCall

sql = Queries(__package__)

_LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class TriggerRow:
    """`role` is what its maker is now, None where they are nothing."""

    id: UUID
    workflow_id: UUID
    name_sealed: bytes
    user_id: UUID
    role: Role | None
    created_at: datetime

    def name(self, cipher: TenantCipher) -> str:
        return cipher.open_text(Purpose.TRIGGER_NAME, self.id, self.name_sealed)


@dataclass(frozen=True, slots=True)
class FoundTrigger:
    tenant_id: TenantId
    workflow_id: UUID
    user_id: UserId
    secret_sealed: bytes
    role: Role | None


async def find_trigger(database: Database, trigger_id: UUID) -> FoundTrigger | None:
    """Of whatever tenant. Raises Unavailable."""
    row = await database.fetch_row(sql["find_trigger"], {"id": trigger_id})
    return FoundTrigger(*row) if row else None


class TriggerRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(self, tx: Transaction, trigger_id: UUID, workflow_id: UUID, name: str, secret: str) -> datetime:
        """When."""
        cipher = await tx.cipher()
        columns = {
            **_key(tx, workflow_id),
            "id": trigger_id,
            "user_id": tx.principal.acting_user,
            "name_sealed": cipher.seal_text(Purpose.TRIGGER_NAME, trigger_id, name),
            "secret_sealed": cipher.seal_text(Purpose.TRIGGER_SECRET, trigger_id, secret),
        }
        return cast(datetime, await tx.fetch_value(sql["insert_trigger"], columns))

    async def count(self, tx: Transaction, workflow_id: UUID) -> int:
        return cast(int, await tx.fetch_value(sql["count_triggers"], _key(tx, workflow_id)))

    async def page(
        self, tx: Transaction, workflow_id: UUID, *, before: UUID | None, offset: int, limit: int
    ) -> Sequence[TriggerRow]:
        place = {"before": before or _LAST_ID, "offset": offset, "limit": limit}
        return await tx.fetch_all(TriggerRow, sql["list_triggers"], _key(tx, workflow_id) | place)

    async def delete(self, tx: Transaction, workflow_id: UUID, trigger_id: UUID) -> None:
        """Raises NotFound."""
        if not await tx.execute(sql["delete_trigger"], _key(tx, workflow_id) | {"id": trigger_id}):
            raise NotFound("trigger")

    async def note_call(self, tx: Transaction, call: VerifiedCall, run_id: UUID, *, keep: timedelta) -> bool:
        """Whether it is the first one with its id. One that comes at the same time waits for this transaction's end."""
        key = await _call_key(tx, call)
        params = key | {"run_id": run_id, "keep_seconds": keep.total_seconds()}
        return await tx.fetch_value(sql["insert_call"], params) is not None

    async def run_of(self, tx: Transaction, call: VerifiedCall) -> UUID | None:
        """Which run the first call with this id has started; None where there was none."""
        return cast(UUID | None, await tx.fetch_value(sql["get_call"], await _call_key(tx, call)))


async def _call_key(tx: Transaction, call: VerifiedCall) -> dict[str, object]:
    """A caller may put anything into its id, so only a keyed hash of it is kept."""
    key = (await tx.cipher()).hash_key(HashPurpose.TRIGGER_CALL)
    call_hash = hmac.digest(key, call.call_id.encode(), "sha256")
    return {"tenant_id": tx.principal.tenant_id, "trigger_id": call.trigger_id, "call_hash": call_hash}


def _key(tx: Transaction, workflow_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "workflow_id": workflow_id}
