"""Outgoing webhooks: what happened in a tenant, told to whom it chose. `delivering` has the handler of DELIVER."""

from copilot_domain.webhooks.jobs import DELIVER, DeliverPayload
from copilot_domain.webhooks.pruning import prune
from copilot_domain.webhooks.publishing import publish
from copilot_domain.webhooks.service import MAX_WEBHOOKS, WebhookService
from copilot_domain.webhooks.types import (
    EVENTS,
    CreatedWebhook,
    Delivery,
    DeliveryStatus,
    EventData,
    NewWebhook,
    Webhook,
    WebhookEvent,
)

__all__ = [
    "DELIVER",
    "EVENTS",
    "MAX_WEBHOOKS",
    "CreatedWebhook",
    "DeliverPayload",
    "Delivery",
    "DeliveryStatus",
    "EventData",
    "NewWebhook",
    "Webhook",
    "WebhookEvent",
    "WebhookService",
    "prune",
    "publish",
]
