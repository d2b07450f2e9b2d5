"""The handler of `webhook.deliver`: one attempt.

    read and unseal (a transaction) ─▶ sign, send (no transaction) ─▶ record how it ended (a transaction)

What is delivered is recorded together with the job's end. A process that dies in between has delivered, and the next
one delivers again, under the same `webhook-id`. Not imported by the package: the API only enqueues, without Egress.
"""

from dataclasses import dataclass, field
from uuid import UUID

from copilot_common.base.errors import EgressFailed, EgressRefused
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.egress.client import Egress
from copilot_common.queue import Job, JobFailed, complete, hold
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.webhooks.jobs import DELIVER, DeliverPayload
from copilot_domain.webhooks.repository import DeliveryRepository, ParcelRow, WebhookRepository
from copilot_domain.webhooks.signing import signed_headers

_TIMEOUT_SECONDS = 10.0  # a receiver that works for longer should answer first, and work then
_GONE = 410


@dataclass(frozen=True, slots=True)
class _Parcel:
    """`id` is the delivery's."""

    id: UUID
    webhook_id: UUID
    url: str = field(repr=False)
    secret: str = field(repr=False)
    body: str = field(repr=False)


class DeliverWebhook:
    """Handles DELIVER. Acts as the system: what happens here is nobody's doing."""

    def __init__(self, db: TenantDatabase, egress: Egress, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._db = db
        self._egress = egress
        self._timeout_seconds = timeout_seconds
        self._webhooks = WebhookRepository()
        self._deliveries = DeliveryRepository()

    async def __call__(self, job: Job[DeliverPayload]) -> None:
        """Raises JobFailed, JobLost."""
        principal = Principal.system(job.tenant_id, job.user_id)
        async with self._db.transaction(principal) as tx:
            parcel = await self._read(tx, job)
        if parcel is None:
            return
        try:
            status = await self._send(parcel)
        except EgressRefused as error:
            failure = JobFailed("REFUSED", error.message, is_final=True)
            await self._record_failure(principal, job, parcel, failure, None)
            raise failure from None
        except EgressFailed as error:
            failure = JobFailed(error.failure.upper(), error.message)
            await self._record_failure(principal, job, parcel, failure, None)
            raise failure from None
        await self._judge(principal, job, parcel, status)

    async def _read(self, tx: Transaction, job: Job[DeliverPayload]) -> _Parcel | None:
        """None where there is nothing to do: deleted, pruned or switched off."""
        row = await self._deliveries.parcel(tx, job.payload.delivery_id)
        if row is None:
            return None
        if not row.is_active:
            await complete(tx, job)
            await self._deliveries.record(tx, row.id, "failed", attempts=0, error_code="WEBHOOK_INACTIVE")
            return None
        return _open(row, await tx.cipher())

    async def _send(self, parcel: _Parcel) -> int:
        """The receiver's status: that is all there is to its answer."""
        response = await self._egress.request(
            "POST",
            parcel.url,
            headers=signed_headers(parcel.secret, parcel.id, parcel.body),
            content=parcel.body.encode(),
            max_bytes=0,
            timeout_seconds=self._timeout_seconds,
        )
        return response.status

    async def _judge(self, principal: Principal, job: Job[DeliverPayload], parcel: _Parcel, status: int) -> None:
        if status // 100 == 2:
            async with self._db.transaction(principal) as tx:
                await complete(tx, job)
                await self._deliveries.record(tx, parcel.id, "delivered", last_status=status)
            return
        if status == _GONE:
            failure = JobFailed("GONE", "The receiver answered 410: it wants no more.", is_final=True)
        else:
            failure = JobFailed("BAD_STATUS", f"The receiver answered {status}.")
        await self._record_failure(principal, job, parcel, failure, status)
        raise failure

    async def _record_failure(
        self, principal: Principal, job: Job[DeliverPayload], parcel: _Parcel, failure: JobFailed, status: int | None
    ) -> None:
        """Only while the job is ours. The webhook before its delivery, the order in which deleting locks them."""
        is_last = failure.is_final or job.failures + 1 >= DELIVER.max_failures
        async with self._db.transaction(principal) as tx:
            await hold(tx, job)
            if status == _GONE and await self._webhooks.deactivate(tx, parcel.webhook_id):
                await record_audit(tx, "webhook.deactivated", parcel.webhook_id, details={"reason": "gone"})
            await self._deliveries.record(
                tx, parcel.id, "failed" if is_last else "pending", last_status=status, error_code=failure.code
            )


def _open(row: ParcelRow, cipher: TenantCipher) -> _Parcel:
    return _Parcel(
        id=row.id,
        webhook_id=row.webhook_id,
        url=cipher.open_text(Purpose.WEBHOOK_URL, row.webhook_id, row.url_sealed),
        secret=cipher.open_text(Purpose.WEBHOOK_SECRET, row.webhook_id, row.secret_sealed),
        body=cipher.open_text(Purpose.WEBHOOK_BODY, row.id, row.body_sealed),
    )
