"""Asked for again: one job at a time for a delivery, and what is shown of deliveries whose job ended otherwise."""

from uuid import UUID

import pytest

from copilot_common.base.errors import Conflict
from copilot_domain.pagination import PageRequest
from copilot_domain.webhooks import Delivery
from integration.webhooks.ground import Ground, verified
from support.receiver import answer, receiver

OK, BROKEN = answer(), answer(status="500 Oops")


async def redeliver(ground: Ground, webhook_id: UUID) -> Delivery:
    async with ground.queue.db.transaction(ground.acme) as tx:
        return await ground.service.redeliver(tx, webhook_id, ground.delivery()["id"])


async def shown(ground: Ground, webhook_id: UUID) -> Delivery:
    async with ground.queue.db.transaction(ground.acme) as tx:
        (found,) = (await ground.service.deliveries(tx, webhook_id, PageRequest(20))).items
        return found


async def test_what_was_delivered_is_sent_again_under_the_same_id(ground: Ground) -> None:
    async with receiver(OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        await ground.attempt()
        assert (await redeliver(ground, webhook.id)).status == "pending"
        await ground.attempt()
    assert (ground.delivery()["status"], ground.delivery()["attempts"]) == ("delivered", 2)
    first, second = server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert verified(webhook.secret, first) == verified(webhook.secret, second)


async def test_a_delivery_that_waits_is_due_at_once_and_has_no_second_job(ground: Ground) -> None:
    async with receiver(BROKEN, OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        await ground.attempt()
        assert ground.job()["status"] == "scheduled"
        for _ in range(2):
            await redeliver(ground, webhook.id)
        assert (ground.job()["status"], ground.rows("SELECT count(*) FROM jobs")) == ("pending", [(1,)])
        await ground.attempt()
    assert (await shown(ground, webhook.id)).status == "delivered"


async def test_an_inactive_webhook_gets_nothing_again(ground: Ground) -> None:
    webhook = await ground.webhook(8080)
    await ground.publish()
    async with ground.queue.db.transaction(ground.acme) as tx:
        await ground.service.update(tx, webhook.id, {"is_active": False})
    with pytest.raises(Conflict):
        await redeliver(ground, webhook.id)


@pytest.mark.parametrize(
    ("end", "code"),
    [("UPDATE jobs SET status = 'dead', error_code = 'WORKER_LOST'", "WORKER_LOST"), ("DELETE FROM jobs", None)],
    ids=["dead", "pruned"],
)
async def test_a_delivery_whose_job_ended_otherwise_has_failed_and_can_be_sent_again(
    ground: Ground, end: str, code: str | None
) -> None:
    async with receiver(OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        assert (await shown(ground, webhook.id)).status == "pending"
        ground.rows(end)
        found = await shown(ground, webhook.id)
        assert (found.status, found.last_error_code) == ("failed", code)
        await redeliver(ground, webhook.id)
        assert (await shown(ground, webhook.id)).status == "pending"
        await ground.attempt()
    assert (await shown(ground, webhook.id)).status == "delivered"
