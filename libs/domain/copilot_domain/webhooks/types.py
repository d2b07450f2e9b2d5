"""Webhooks and their deliveries, as the wire shows them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias, get_args
from uuid import UUID

import msgspec

WebhookEvent = Literal[
    "conversation.created",
    "message.created",
    "workflow.started",
    "workflow.completed",
    "workflow.failed",
    "workflow.waiting",
    "context.ready",
    "context.failed",
]
EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
DeliveryStatus = Literal["pending", "delivered", "failed"]

EventData: TypeAlias = Mapping[str, UUID | str | int | bool | None]
"""What happened, as ids and states: whoever wants the content asks the API for it, with rights of its own."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    url: str
    events: list[WebhookEvent]
    description: str | None
    is_active: bool
    user_id: UUID
    created_at: datetime
    updated_at: datetime


class CreatedWebhook(Webhook, frozen=True, kw_only=True):
    """`secret` (`whsec_…`) signs every delivery; it is shown only here."""

    secret: str


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    events: list[WebhookEvent]
    description: str | None = None
    is_active: bool = True


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of news for one webhook. `id` is the `webhook-id` that its receiver sees, at every attempt.

    `last_status` is the HTTP status of the last answer there was; `last_error_code` says why the last attempt failed.
    """

    id: UUID
    webhook_id: UUID
    event: str
    status: DeliveryStatus
    attempts: int
    last_status: int | None
    last_error_code: str | None
    created_at: datetime
    delivered_at: datetime | None
