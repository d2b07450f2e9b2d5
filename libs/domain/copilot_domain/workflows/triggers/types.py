"""Triggers as the wire shows them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from copilot_common.tenancy import Principal


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """`user_id` made it, and its runs act as them: it is active while they may start runs."""

    id: UUID
    workflow_id: UUID
    name: str
    url: str
    is_active: bool
    user_id: UUID
    created_at: datetime


class CreatedTrigger(Trigger, frozen=True, kw_only=True):
    """`secret` (`whsec_…`) signs every call; it is shown only here."""

    secret: str


class StartedRun(msgspec.Struct, frozen=True):
    run_id: UUID


@dataclass(frozen=True, slots=True)
class VerifiedCall:
    """A call whose signature was good. `call_id` is its `webhook-id`; `principal` acts as the trigger's maker."""

    principal: Principal
    trigger_id: UUID
    workflow_id: UUID
    call_id: str
