"""What the tests of webhooks stand on: the ledger's ground, the service, and a hand that delivers job by job."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from standardwebhooks import Webhook as Verifier

from copilot_common.platform.egress.client import Egress
from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.queue import Job, JobFailed
from copilot_common.tenancy import Principal
from copilot_domain.webhooks import (
    DELIVER,
    CreatedWebhook,
    DeliverPayload,
    EventData,
    NewWebhook,
    WebhookEvent,
    WebhookService,
    publish,
)
from copilot_domain.webhooks.delivering import DeliverWebhook
from integration.queue.ground import Ground as QueueGround
from integration.queue.ground import ProcessHandle, open_ground
from support.receiver import Received
from support.stack import Database

EVENT: WebhookEvent = "message.created"
DATA: EventData = {"message_id": UUID(int=7), "status": "completed"}


@dataclass
class Ground:
    """`service` and `egress` let tenants name loopback addresses, as by EGRESS_ALLOW."""

    queue: QueueGround
    service: WebhookService
    egress: Egress

    @property
    def acme(self) -> Principal:
        return self.queue.acme

    def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        return self.queue.rows(query, *params)

    async def webhook(self, port: int, *, principal: Principal | None = None, **fields: Any) -> CreatedWebhook:
        fields = {"url": f"http://127.0.0.1:{port}/hook", "events": [EVENT], **fields}
        async with self.queue.db.transaction(principal or self.acme) as tx:
            return await self.service.create(tx, NewWebhook(**fields))

    async def publish(self, *, principal: Principal | None = None, **data: Any) -> None:
        async with self.queue.db.transaction(principal or self.acme) as tx:
            await publish(tx, self.queue.ledger, EVENT, data or DATA)

    def delivery(self) -> dict[str, Any]:
        """The only one."""
        names = ("id", "status", "attempts", "last_status", "last_error_code", "job_id", "delivered_at")
        (row,) = self.rows(f"SELECT {', '.join(names)} FROM webhook_deliveries")
        return dict(zip(names, row, strict=True))

    def job(self) -> dict[str, Any]:
        """The last one."""
        return self.queue.job(self.rows("SELECT id FROM jobs ORDER BY id DESC LIMIT 1")[0][0])

    async def claim(self, process: ProcessHandle) -> Job[DeliverPayload]:
        """What there is to deliver, due or not."""
        self.rows("UPDATE jobs SET status = 'pending', run_after = now() WHERE status = 'scheduled'")
        (claimed,) = await process.claim(known=[DELIVER.kind])
        assert claimed.fence is not None
        payload = msgspec.msgpack.decode(claimed.payload, type=DeliverPayload)
        return Job(id=claimed.id, fence=claimed.fence, payload=payload, principal=self.acme, failures=claimed.failures)

    async def attempt(self, process: ProcessHandle | None = None, *, timeout_seconds: float = 10.0) -> JobFailed | None:
        """Claim the one job and deliver; what the worker would be told."""
        process = process or self.queue.process()
        job = await self.claim(process)
        try:
            await self.handler(timeout_seconds)(job)
        except JobFailed as failure:
            claim = next(owned.claim for owned in await process.dispatcher.owned() if owned.id == job.id)
            pause = timedelta(hours=1)
            await process.dispatcher.fail(
                claim, is_final=failure.is_final, pause=pause, code=failure.code, text=failure.text
            )
            return failure
        return None

    def handler(self, timeout_seconds: float = 10.0) -> DeliverWebhook:
        return DeliverWebhook(self.queue.db, self.egress, timeout_seconds=timeout_seconds)


def verified(secret: str, received: Received) -> Any:
    """The body, once the standard's own library has accepted it."""
    return Verifier(secret).verify(received.body, received.headers)


@asynccontextmanager
async def open_webhooks(urls: Database) -> AsyncIterator[Ground]:
    rules = EgressRules(parse_exemptions("127.0.0.0/8"))
    async with open_ground(urls) as queue:
        egress = Egress(rules)
        yield Ground(queue, WebhookService(queue.ledger, rules), egress)
        await egress.aclose()
