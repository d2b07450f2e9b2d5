"""What an admin does with the tenant's webhooks. They are the tenant's, whoever made them."""

from uuid import UUID

import msgspec

from copilot_common.base.errors import Conflict, EgressRefused, InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.queue import Ledger
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import EXACT_TOTAL, Page, PageRequest, page
from copilot_domain.webhooks.jobs import deliver_job
from copilot_domain.webhooks.repository import DeliveryRepository, WebhookRepository
from copilot_domain.webhooks.signing import new_secret
from copilot_domain.webhooks.types import CreatedWebhook, Delivery, NewWebhook, Webhook

MAX_WEBHOOKS = 20
"""Of one tenant: each is a row and a job in the transaction of every event it subscribes to."""

REDELIVER = "redeliver"
"""The signal that ends a job's pause between two attempts."""


class WebhookService:
    """Each method is one step of the caller's transaction; the caller commits."""

    def __init__(self, ledger: Ledger, rules: EgressRules) -> None:
        self._ledger = ledger
        self._rules = rules
        self._webhooks = WebhookRepository()
        self._deliveries = DeliveryRepository()

    async def create(self, tx: Transaction, new: NewWebhook) -> CreatedWebhook:
        """Raises InvalidInput, or Conflict where the tenant has as many as it may have."""
        checked = self._checked(new)
        if await self._webhooks.count(tx) >= MAX_WEBHOOKS:
            raise Conflict(f"A tenant may have {MAX_WEBHOOKS} webhooks.", details={"limit": MAX_WEBHOOKS})
        webhook_id, secret = new_id(), new_secret()
        row = await self._webhooks.insert(tx, webhook_id, checked, secret)
        await record_audit(tx, "webhook.created", webhook_id, details={"events": " ".join(checked.events)})
        return CreatedWebhook(**msgspec.structs.asdict(row.open(await tx.cipher())), secret=secret)

    async def get(self, tx: Transaction, webhook_id: UUID) -> Webhook:
        """Raises NotFound."""
        return (await self._webhooks.get(tx, webhook_id)).open(await tx.cipher())

    async def list(self, tx: Transaction, request: PageRequest) -> Page[Webhook]:
        """Newest first."""
        cipher = await tx.cipher()
        before = request.position(UUID)
        rows = await self._webhooks.page(tx, before=before, offset=request.offset, limit=request.fetch)
        counted = await self._webhooks.count(tx)
        return page(request, rows, key=lambda row: row.id, item=lambda row: row.open(cipher), counted=counted)

    async def update(self, tx: Transaction, webhook_id: UUID, changes: dict[str, object]) -> Webhook:
        """`changes` holds only fields of NewWebhook that the caller sent, already of the right types. Raises NotFound,
        InvalidInput."""
        current = (await self._webhooks.lock(tx, webhook_id)).open(await tx.cipher())
        kept = {name: getattr(current, name) for name in NewWebhook.__struct_fields__}
        new = self._checked(msgspec.convert({**kept, **changes}, NewWebhook))
        updated = await self._webhooks.update(tx, webhook_id, new)
        await record_audit(tx, "webhook.updated", webhook_id, details={"fields": ", ".join(sorted(changes))})
        return updated.open(await tx.cipher())

    async def delete(self, tx: Transaction, webhook_id: UUID) -> None:
        """With its deliveries; their jobs then find nothing to do. Raises NotFound."""
        await self._webhooks.delete(tx, webhook_id)
        await record_audit(tx, "webhook.deleted", webhook_id)

    async def deliveries(self, tx: Transaction, webhook_id: UUID, request: PageRequest) -> Page[Delivery]:
        """Newest first, of the last 30 days. Raises NotFound."""
        await self._webhooks.get(tx, webhook_id)
        before = request.position(UUID)
        rows = await self._deliveries.page(tx, webhook_id, before=before, offset=request.offset, limit=request.fetch)
        counted = await self._deliveries.count(tx, webhook_id, up_to=EXACT_TOTAL + 1)
        return page(request, rows, key=lambda row: row.id, item=lambda row: row, counted=counted)

    async def redeliver(self, tx: Transaction, webhook_id: UUID, delivery_id: UUID) -> Delivery:
        """Send it (again) as soon as possible; while it waits for its next attempt that one comes now.

        Raises NotFound, or Conflict where the webhook is not active.
        """
        webhook = await self._webhooks.hold(tx, webhook_id)
        if not webhook.is_active:
            raise Conflict("This webhook is not active.", details={"webhook_id": str(webhook_id)})
        await self._deliveries.get(tx, webhook_id, delivery_id)
        await self._enqueue(tx, delivery_id)
        await record_audit(tx, "webhook.redelivered", webhook_id, details={"delivery_id": str(delivery_id)})
        return await self._deliveries.get(tx, webhook_id, delivery_id)

    async def _enqueue(self, tx: Transaction, delivery_id: UUID) -> None:
        """The job is locked before its delivery, as where an attempt is recorded."""
        job_id = await self._ledger.enqueue(tx, deliver_job(delivery_id))
        if job_id is None:
            job_id = await self._deliveries.job_of(tx, delivery_id)
            await self._ledger.signal(tx, job_id, REDELIVER)
        await self._deliveries.await_job(tx, delivery_id, job_id)

    def _checked(self, new: NewWebhook) -> NewWebhook:
        """Without events named twice."""
        events = list(dict.fromkeys(new.events))
        if not events:
            raise InvalidInput({"events": "must name at least one event"})
        try:
            self._rules.check_url(new.url)
        except EgressRefused as error:
            raise InvalidInput({"url": error.message}) from None
        return msgspec.structs.replace(new, events=events)
