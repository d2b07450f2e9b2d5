"""Rows of webhooks and deliveries, unsealed into the domain's types."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from copilot_common.base.errors import NotFound
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.webhooks.types import Delivery, DeliveryStatus, NewWebhook, Webhook, WebhookEvent

sql = Queries(__package__)

LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class WebhookRow:
    id: UUID
    user_id: UUID
    url_sealed: bytes
    events: list[str]
    description_sealed: bytes | None
    is_active: bool
    created_at: datetime
    updated_at: datetime

    def open(self, cipher: TenantCipher) -> Webhook:
        description = self.description_sealed
        return Webhook(
            id=self.id,
            url=cipher.open_text(Purpose.WEBHOOK_URL, self.id, self.url_sealed),
            events=cast(list[WebhookEvent], self.events),
            description=cipher.open_text(Purpose.WEBHOOK_DESCRIPTION, self.id, description) if description else None,
            is_active=self.is_active,
            user_id=self.user_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@dataclass(frozen=True, slots=True)
class ParcelRow:
    """A delivery with its webhook. `id` is the delivery's."""

    id: UUID
    webhook_id: UUID
    body_sealed: bytes
    url_sealed: bytes
    secret_sealed: bytes
    is_active: bool


@dataclass(frozen=True, slots=True)
class _Id:
    id: UUID


class WebhookRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(self, tx: Transaction, webhook_id: UUID, new: NewWebhook, secret: str) -> WebhookRow:
        secret_sealed = (await tx.cipher()).seal_text(Purpose.WEBHOOK_SECRET, webhook_id, secret)
        own = {"user_id": tx.principal.acting_user, "secret_sealed": secret_sealed}
        columns = await self._columns(tx, webhook_id, new)
        return _present(await tx.fetch_one(WebhookRow, sql["insert_webhook"], columns | own))

    async def update(self, tx: Transaction, webhook_id: UUID, new: NewWebhook) -> WebhookRow:
        """Raises NotFound."""
        columns = await self._columns(tx, webhook_id, new)
        return _present(await tx.fetch_one(WebhookRow, sql["update_webhook"], columns))

    async def get(self, tx: Transaction, webhook_id: UUID) -> WebhookRow:
        """Raises NotFound."""
        return _present(await tx.fetch_one(WebhookRow, sql["get_webhook"], _key(tx, webhook_id)))

    async def hold(self, tx: Transaction, webhook_id: UUID) -> WebhookRow:
        """It is not deleted before the transaction ends. Raises NotFound."""
        return _present(await tx.fetch_one(WebhookRow, sql["hold_webhook"], _key(tx, webhook_id)))

    async def lock(self, tx: Transaction, webhook_id: UUID) -> WebhookRow:
        """Nobody else changes it before the transaction ends. Raises NotFound."""
        return _present(await tx.fetch_one(WebhookRow, sql["lock_webhook"], _key(tx, webhook_id)))

    async def page(self, tx: Transaction, *, before: UUID | None, offset: int, limit: int) -> list[WebhookRow]:
        params = {"tenant_id": tx.principal.tenant_id, "before": before or LAST_ID, "offset": offset, "limit": limit}
        return await tx.fetch_all(WebhookRow, sql["list_webhooks"], params)

    async def count(self, tx: Transaction) -> int:
        return cast(int, await tx.fetch_value(sql["count_webhooks"], {"tenant_id": tx.principal.tenant_id}))

    async def deactivate(self, tx: Transaction, webhook_id: UUID) -> bool:
        """Whether it was active."""
        return await tx.execute(sql["deactivate_webhook"], _key(tx, webhook_id)) > 0

    async def delete(self, tx: Transaction, webhook_id: UUID) -> None:
        """Raises NotFound."""
        if not await tx.execute(sql["delete_webhook"], _key(tx, webhook_id)):
            raise NotFound("webhook")

    async def subscribers(self, tx: Transaction, event: WebhookEvent) -> list[UUID]:
        """Active webhooks; none of them is deleted before the transaction ends."""
        params = {"tenant_id": tx.principal.tenant_id, "event": event}
        return [row.id for row in await tx.fetch_all(_Id, sql["hold_subscribers"], params)]

    async def _columns(self, tx: Transaction, webhook_id: UUID, new: NewWebhook) -> dict[str, object]:
        cipher, text = await tx.cipher(), new.description
        return {
            **_key(tx, webhook_id),
            "url_sealed": cipher.seal_text(Purpose.WEBHOOK_URL, webhook_id, new.url),
            "events": list(new.events),
            "description_sealed": cipher.seal_text(Purpose.WEBHOOK_DESCRIPTION, webhook_id, text) if text else None,
            "is_active": new.is_active,
        }


class DeliveryRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(
        self, tx: Transaction, delivery_id: UUID, webhook_id: UUID, event: WebhookEvent, body: bytes, job_id: UUID
    ) -> None:
        params = {
            **_key(tx, delivery_id),
            "webhook_id": webhook_id,
            "event": event,
            "body_sealed": (await tx.cipher()).seal(Purpose.WEBHOOK_BODY, delivery_id, body),
            "job_id": job_id,
        }
        await tx.execute(sql["insert_delivery"], params)

    async def parcel(self, tx: Transaction, delivery_id: UUID) -> ParcelRow | None:
        """None where the webhook is deleted, or the delivery pruned."""
        return await tx.fetch_one(ParcelRow, sql["get_parcel"], _key(tx, delivery_id))

    async def record(
        self,
        tx: Transaction,
        delivery_id: UUID,
        status: DeliveryStatus,
        *,
        attempts: int = 1,
        last_status: int | None = None,
        error_code: str | None = None,
    ) -> None:
        """`attempts`: how many were made since the last time. Without a `last_status` the earlier one stays."""
        params = {"status": status, "attempts": attempts, "last_status": last_status, "last_error_code": error_code}
        await tx.execute(sql["record_attempt"], _key(tx, delivery_id) | params)

    async def job_of(self, tx: Transaction, delivery_id: UUID) -> UUID:
        return cast(UUID, await tx.fetch_value(sql["get_delivery_job"], _key(tx, delivery_id)))

    async def await_job(self, tx: Transaction, delivery_id: UUID, job_id: UUID) -> None:
        """The delivery's job from now on."""
        await tx.execute(sql["await_delivery"], _key(tx, delivery_id) | {"job_id": job_id})

    async def get(self, tx: Transaction, webhook_id: UUID, delivery_id: UUID) -> Delivery:
        """Raises NotFound."""
        params = _key(tx, delivery_id) | {"webhook_id": webhook_id}
        row = await tx.fetch_one(Delivery, sql["get_delivery"], params)
        if row is None:
            raise NotFound("delivery")
        return row

    async def page(
        self, tx: Transaction, webhook_id: UUID, *, before: UUID | None, offset: int, limit: int
    ) -> list[Delivery]:
        params = {
            "tenant_id": tx.principal.tenant_id,
            "webhook_id": webhook_id,
            "before": before or LAST_ID,
            "offset": offset,
            "limit": limit,
        }
        return await tx.fetch_all(Delivery, sql["list_deliveries"], params)

    async def count(self, tx: Transaction, webhook_id: UUID, *, up_to: int) -> int:
        params = {"tenant_id": tx.principal.tenant_id, "webhook_id": webhook_id, "count_limit": up_to}
        return cast(int, await tx.fetch_value(sql["count_deliveries"], params))


def _key(tx: Transaction, row_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "id": row_id}


def _present(row: WebhookRow | None) -> WebhookRow:
    if row is None:
        raise NotFound("webhook")
    return row
