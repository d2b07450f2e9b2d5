"""News for whoever subscribed, in the transaction of what it tells of: both are there, or neither."""

from datetime import UTC, datetime

import msgspec

from copilot_common.base.ids import new_id
from copilot_common.queue import Ledger
from copilot_common.tenancy import Transaction
from copilot_domain.webhooks.jobs import deliver_job
from copilot_domain.webhooks.repository import DeliveryRepository, WebhookRepository
from copilot_domain.webhooks.types import EventData, WebhookEvent

_webhooks = WebhookRepository()
_deliveries = DeliveryRepository()


async def publish(tx: Transaction, ledger: Ledger, event: WebhookEvent, data: EventData) -> None:
    """One query where nobody subscribed. `data` holds ids and states, never content. Acts as the transaction's user,
    so a platform principal cannot publish."""
    subscribers = await _webhooks.subscribers(tx, event)
    if not subscribers:
        return
    body = encode_body(event, datetime.now(UTC), data)
    for webhook_id in subscribers:
        delivery_id = new_id()
        job_id = await ledger.enqueue(tx, deliver_job(delivery_id))
        assert job_id is not None  # noqa: S101 — nobody else knows this delivery yet
        await _deliveries.insert(tx, delivery_id, webhook_id, event, body, job_id)


def encode_body(event: WebhookEvent, moment: datetime, data: EventData) -> bytes:
    return msgspec.json.encode({"event": event, "timestamp": moment, "data": dict(data)})
