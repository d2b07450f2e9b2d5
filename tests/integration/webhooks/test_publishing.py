"""News in the transaction of what it tells of."""

from uuid import UUID

import psycopg
import pytest

from copilot_common.base.errors import NotFound
from copilot_domain.webhooks import prune, publish
from copilot_domain.webhooks.repository import WebhookRepository
from integration.webhooks.ground import DATA, EVENT, Ground

PORT = 8080  # nobody is called here


async def test_news_is_there_with_its_job_once_the_transaction_is_committed(ground: Ground) -> None:
    webhook = await ground.webhook(PORT)
    await ground.publish()
    delivery = ground.delivery()
    assert (delivery["status"], delivery["attempts"], ground.job()["status"]) == ("pending", 0, "pending")
    assert ground.rows("SELECT webhook_id, event FROM webhook_deliveries") == [(webhook.id, EVENT)]
    assert ground.rows("SELECT kind, class FROM jobs WHERE id = %s", delivery["job_id"]) == [("webhook.deliver/1", 3)]
    assert ground.queue.rung == ["workflow"]


async def test_a_rollback_leaves_neither_delivery_nor_job(ground: Ground) -> None:
    await ground.webhook(PORT)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 — the exception must leave the transaction
        async with ground.queue.db.transaction(ground.acme) as tx:
            await publish(tx, ground.queue.ledger, EVENT, DATA)
            raise ZeroDivisionError
    assert ground.rows("SELECT (SELECT count(*) FROM webhook_deliveries) + (SELECT count(*) FROM jobs)") == [(0,)]
    assert ground.queue.rung == []


async def test_only_active_subscribers_of_the_event_in_the_same_tenant_get_it(ground: Ground) -> None:
    wanted = {(await ground.webhook(PORT)).id, (await ground.webhook(PORT, events=["context.ready", EVENT])).id}
    await ground.webhook(PORT, events=["context.ready"])
    await ground.webhook(PORT, is_active=False)
    await ground.webhook(PORT, principal=ground.queue.other)
    await ground.publish()
    assert {row[0] for row in ground.rows("SELECT webhook_id FROM webhook_deliveries")} == wanted


async def test_content_stands_nowhere_readable(ground: Ground) -> None:
    canary = "canary-7f3a"
    webhook = await ground.webhook(PORT, url=f"https://hooks.example.com/{canary}", description=f"for {canary}")
    await ground.publish(note=canary)
    for table in ("webhooks", "webhook_deliveries", "jobs", "job_signals", "audit_log"):
        for (row,) in ground.rows(f"SELECT t::text FROM {table} t"):
            for text in (canary, webhook.secret):
                assert text not in row, table
                assert text.encode().hex() not in row, table


async def test_a_webhook_that_is_being_deleted_does_not_fail_the_change_that_is_told_of(ground: Ground) -> None:
    webhook = await ground.webhook(PORT)
    async with ground.queue.db.transaction(ground.acme) as tx:
        assert await WebhookRepository().subscribers(tx, EVENT) == [webhook.id]  # before the first foreign key
        with pytest.raises(psycopg.errors.LockNotAvailable):  # it waits for us, not we for it
            ground.rows("SET lock_timeout = '50ms'; DELETE FROM webhooks")
    async with ground.queue.db.transaction(ground.acme) as tx:
        await ground.service.delete(tx, webhook.id)
    await ground.publish()
    assert ground.rows("SELECT count(*) FROM webhook_deliveries") == [(0,)]


async def test_another_tenants_webhooks_do_not_exist(ground: Ground) -> None:
    webhook = await ground.webhook(PORT)
    await ground.publish()
    delivery_id: UUID = ground.delivery()["id"]
    async with ground.queue.db.transaction(ground.queue.other) as tx:
        for call in (
            ground.service.get(tx, webhook.id),
            ground.service.update(tx, webhook.id, {"is_active": False}),
            ground.service.delete(tx, webhook.id),
            ground.service.redeliver(tx, webhook.id, delivery_id),
        ):
            with pytest.raises(NotFound):
                await call
    assert ground.rows("SELECT is_active FROM webhooks") == [(True,)]


async def test_deliveries_older_than_30_days_are_pruned_in_batches_for_every_tenant(ground: Ground) -> None:
    for principal in (ground.acme, ground.queue.other):
        await ground.webhook(PORT, principal=principal)
        await ground.publish(principal=principal)
        await ground.publish(principal=principal)
    old = "UPDATE webhook_deliveries SET created_at = now() - interval '30 days 1 minute'"
    ground.rows(f"{old} WHERE id NOT IN (SELECT id FROM webhook_deliveries ORDER BY id DESC LIMIT 1)")
    assert [await prune(ground.queue.database, limit=2) for _ in range(3)] == [2, 1, 0]
    assert ground.rows("SELECT count(*) FROM webhook_deliveries") == [(1,)]
