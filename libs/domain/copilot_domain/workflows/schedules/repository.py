"""Rows of schedules, unsealed into the domain's types."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Role, Transaction
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.runs.repository import decode_value
from copilot_domain.workflows.schedules.types import InactiveReason, Misfire, NewSchedule, Schedule

sql = Queries(__package__)

_LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    id: UUID
    workflow_id: UUID
    user_id: UUID
    cron: str
    timezone: str
    misfire: Misfire
    inputs_sealed: bytes
    next_at: datetime | None
    inactive_reason: InactiveReason | None
    last_at: datetime | None
    last_run_id: UUID | None
    last_error: str | None
    created_at: datetime

    def open(self, cipher: TenantCipher) -> Schedule:
        return Schedule(
            id=self.id,
            workflow_id=self.workflow_id,
            user_id=self.user_id,
            cron=self.cron,
            timezone=self.timezone,
            inputs=open_inputs(cipher, self.id, self.inputs_sealed),
            misfire=self.misfire,
            is_active=self.inactive_reason is None,
            inactive_reason=self.inactive_reason,
            next_at=self.next_at,
            last_at=self.last_at,
            last_run_id=self.last_run_id,
            last_error=self.last_error,
            created_at=self.created_at,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    of_workflow: int
    of_tenant: int
    now: datetime


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """`seconds` until it is due; less than 0 where it is late."""

    tenant_id: TenantId
    id: UUID
    user_id: UserId
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldSchedule:
    """A due schedule that this transaction has locked. `moment` is now."""

    workflow_id: UUID
    cron: str
    timezone: str
    misfire: Misfire
    inputs_sealed: bytes
    next_at: datetime
    moment: datetime
    role: Role | None
    is_tenant_active: bool


def open_inputs(cipher: TenantCipher, schedule_id: UUID, sealed: bytes) -> Json:
    return cast(Json, decode_value(cipher.open(Purpose.SCHEDULE_INPUTS, schedule_id, sealed)))


async def due_schedules(database: Database, *, ahead: timedelta, limit: int) -> list[DueSchedule]:
    """Of all tenants, due within that time, the earliest first. Raises Unavailable."""
    params = {"ahead_seconds": ahead.total_seconds(), "limit": limit}
    return [DueSchedule(*row) for row in await database.fetch_rows(sql["due_schedules"], params)]


class ScheduleRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(
        self, tx: Transaction, schedule_id: UUID, workflow_id: UUID, new: NewSchedule, inputs: bytes, next_at: datetime
    ) -> ScheduleRow:
        """`inputs` are encoded."""
        columns = {
            **_key(tx, schedule_id),
            "workflow_id": workflow_id,
            "user_id": tx.principal.acting_user,
            "cron": new.cron,
            "timezone": new.timezone,
            "misfire": new.misfire,
            "inputs_sealed": (await tx.cipher()).seal(Purpose.SCHEDULE_INPUTS, schedule_id, inputs),
            "next_at": next_at,
        }
        row = await tx.fetch_one(ScheduleRow, sql["insert_schedule"], columns)
        if row is None:
            raise TypeError("insert_schedule returns a row")
        return row

    async def count(self, tx: Transaction, workflow_id: UUID) -> Counted:
        params = {"tenant_id": tx.principal.tenant_id, "workflow_id": workflow_id}
        return cast(Counted, await tx.fetch_one(Counted, sql["count_schedules"], params))

    async def page(
        self, tx: Transaction, workflow_id: UUID, *, before: UUID | None, offset: int, limit: int
    ) -> Sequence[ScheduleRow]:
        place = {"before": before or _LAST_ID, "offset": offset, "limit": limit}
        of = {"tenant_id": tx.principal.tenant_id, "workflow_id": workflow_id}
        return await tx.fetch_all(ScheduleRow, sql["list_schedules"], of | place)

    async def delete(self, tx: Transaction, workflow_id: UUID, schedule_id: UUID) -> None:
        """Raises NotFound."""
        if not await tx.execute(sql["delete_schedule"], _key(tx, schedule_id) | {"workflow_id": workflow_id}):
            raise NotFound("schedule")

    async def hold_due(self, tx: Transaction, schedule_id: UUID) -> HeldSchedule | None:
        """None where it is not due, or another process has it."""
        return await tx.fetch_one(HeldSchedule, sql["hold_due"], _key(tx, schedule_id))

    async def move_on(
        self, tx: Transaction, schedule_id: UUID, next_at: datetime | None, reason: InactiveReason | None = None
    ) -> None:
        """The caller holds it."""
        await tx.execute(sql["move_on"], _key(tx, schedule_id) | {"next_at": next_at, "inactive_reason": reason})

    async def note_firing(
        self, tx: Transaction, schedule_id: UUID, *, run_id: UUID | None = None, error: str | None = None
    ) -> None:
        await tx.execute(sql["note_firing"], _key(tx, schedule_id) | {"run_id": run_id, "error": error})


def _key(tx: Transaction, schedule_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "id": schedule_id}
