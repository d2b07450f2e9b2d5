"""Schedules as the wire shows them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from copilot_domain.workflows.definition import Json

Misfire = Literal["skip", "run_once"]
"""What becomes of times that passed while no engine was there: nothing, or one run for all of them."""

InactiveReason = Literal["FORBIDDEN", "NEVER_DUE"]
"""Who made it may start no runs any more, or no time is left."""


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True):
    cron: str
    timezone: str
    inputs: Json
    misfire: Misfire


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`user_id` made it, and its runs act as them. `next_at` is None once it is inactive, which is for good;
    `last_error` is the code of what kept the last run from starting, None where it started."""

    id: UUID
    workflow_id: UUID
    user_id: UUID
    cron: str
    timezone: str
    inputs: Json
    misfire: Misfire
    is_active: bool
    inactive_reason: InactiveReason | None
    next_at: datetime | None
    last_at: datetime | None
    last_run_id: UUID | None
    last_error: str | None
    created_at: datetime
