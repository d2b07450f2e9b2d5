"""Deliveries to a receiver of our own, checked with the standard's library."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.queue import WORKFLOW_QUEUE, JobLost, QueueMetrics, Worker
from copilot_domain.webhooks import DELIVER, WebhookService
from integration.queue.ground import past_postgres_start
from integration.webhooks.ground import DATA, EVENT, Ground, verified
from support.clients import eventually
from support.receiver import Answer, Received, answer, receiver, redirect

OK = answer(b"", status="204 No Content")
BROKEN = answer(status="500 Oops")
GONE = answer(status="410 Gone")


async def test_a_delivery_is_signed_and_carries_event_time_and_ids(ground: Ground) -> None:
    async with receiver(OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        assert await ground.attempt() is None
    (received,) = server.requests
    body = verified(webhook.secret, received)
    assert set(body) == {"event", "timestamp", "data"}
    assert (body["event"], body["data"]) == (EVENT, {name: str(value) for name, value in DATA.items()})
    delivery = ground.delivery()
    assert (received.method, received.path, received.headers["webhook-id"]) == ("POST", "/hook", str(delivery["id"]))
    assert received.headers["content-type"] == "application/json"
    assert (delivery["status"], delivery["attempts"], delivery["last_status"]) == ("delivered", 1, 204)
    assert delivery["delivered_at"] is not None
    assert ground.job()["status"] == "completed"


async def test_a_failure_is_tried_again_under_the_same_id(ground: Ground) -> None:
    async with receiver(BROKEN, OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        failure = await ground.attempt()
        assert failure is not None
        assert (failure.code, failure.is_final, ground.job()["status"]) == ("BAD_STATUS", False, "scheduled")
        first = ground.delivery()
        assert (first["status"], first["attempts"], first["last_status"]) == ("pending", 1, 500)
        assert await ground.attempt() is None
    second = ground.delivery()
    assert (second["status"], second["attempts"], second["last_status"]) == ("delivered", 2, 204)
    assert second["last_error_code"] is None
    assert {request.headers["webhook-id"] for request in server.requests} == {str(second["id"])}
    assert all(verified(webhook.secret, request) for request in server.requests)


async def test_a_receiver_that_is_gone_is_left_alone(ground: Ground) -> None:
    async with receiver(GONE) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        failure = await ground.attempt()
        await ground.publish()  # to nobody
    assert failure is not None
    assert (failure.code, failure.is_final, ground.job()["status"]) == ("GONE", True, "dead")
    assert (ground.delivery()["status"], ground.delivery()["last_status"]) == ("failed", 410)
    assert ground.rows("SELECT is_active FROM webhooks") == [(False,)]
    audited = "SELECT actor_type, resource_id FROM audit_log WHERE action = 'webhook.deactivated'"
    assert ground.rows(audited) == [("system", webhook.id)]


async def test_the_last_attempt_allowed_ends_the_delivery(ground: Ground) -> None:
    async with receiver(BROKEN) as server:
        await ground.webhook(server.port)
        await ground.publish()
        ground.rows("UPDATE jobs SET failures = %s", DELIVER.max_failures - 1)
        assert await ground.attempt() is not None
    assert (ground.delivery()["status"], ground.job()["status"]) == ("failed", "dead")


@pytest.mark.parametrize(
    "given",
    [redirect("/elsewhere"), answer(status="404 Not Found"), answer(status="429 Too Many")],
    ids=["redirect", "404", "429"],
)
async def test_everything_but_2xx_is_a_failure_and_no_redirect_is_followed(ground: Ground, given: Answer) -> None:
    async with receiver(given) as server:
        await ground.webhook(server.port)
        await ground.publish()
        failure = await ground.attempt()
    assert failure is not None
    assert (failure.code, failure.is_final, len(server.requests)) == ("BAD_STATUS", False, 1)


async def flood(_: Received, writer: asyncio.StreamWriter) -> None:
    """2xx, and a body without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def test_the_receivers_body_decides_nothing(ground: Ground) -> None:
    async with receiver(flood) as server:
        await ground.webhook(server.port)
        await ground.publish()
        assert await ground.attempt() is None
    assert ground.delivery()["status"] == "delivered"


async def silence(_: Received, writer: asyncio.StreamWriter) -> None:
    """No answer, until the client leaves."""


async def test_a_receiver_that_does_not_answer_is_tried_again_later(ground: Ground) -> None:
    async with receiver(silence) as server:
        await ground.webhook(server.port)
        await ground.publish()
        failure = await ground.attempt(timeout_seconds=0.2)
    assert failure is not None
    assert (failure.code, failure.is_final) == ("TIMEOUT", False)
    delivery = ground.delivery()
    assert (delivery["status"], delivery["last_status"], delivery["last_error_code"]) == ("pending", None, "TIMEOUT")


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254"])
async def test_what_egress_forbids_is_final_and_is_not_called(ground: Ground, host: str) -> None:
    """The URL was allowed when the webhook was made; the operator has taken the exemption back since."""
    ground.service = WebhookService(ground.queue.ledger, EgressRules(parse_exemptions("0.0.0.0/0")))
    ground.egress.rules = EgressRules()
    async with receiver(OK) as server:
        await ground.webhook(server.port, url=f"http://{host}:{server.port}/")
        await ground.publish()
        failure = await ground.attempt()
    assert failure is not None
    assert (failure.code, failure.is_final, server.connections) == ("REFUSED", True, 0)
    assert (ground.delivery()["status"], ground.job()["status"]) == ("failed", "dead")


async def test_a_process_lost_between_call_and_commit_delivers_again_under_the_same_id(ground: Ground) -> None:
    await eventually(lambda: past_postgres_start(ground.queue), what="PostgreSQL being up for 6 s")
    first, second = ground.queue.process(), ground.queue.process()

    async def lose(received: Received, writer: asyncio.StreamWriter) -> None:
        first.die()
        assert await second.dispatcher.sweep() == [WORKFLOW_QUEUE]
        await OK(received, writer)

    async with receiver(lose, OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        with pytest.raises(JobLost):
            await ground.attempt(first)
        assert (ground.delivery()["status"], ground.delivery()["attempts"]) == ("pending", 0)
        assert await ground.attempt(second) is None
    assert (ground.delivery()["status"], ground.delivery()["attempts"], len(server.requests)) == ("delivered", 1, 2)
    assert len({request.headers["webhook-id"] for request in server.requests}) == 1
    assert all(verified(webhook.secret, request) for request in server.requests)


@pytest.mark.parametrize("given", [BROKEN, GONE], ids=["500", "410"])
async def test_a_process_that_lost_its_job_records_no_failure(ground: Ground, given: Answer) -> None:
    first, second = ground.queue.process(), ground.queue.process()

    async def lose(received: Received, writer: asyncio.StreamWriter) -> None:
        await first.dispatcher.release([owned.claim for owned in await first.dispatcher.owned()])
        await ground.claim(second)
        await given(received, writer)

    async with receiver(lose) as server:
        await ground.webhook(server.port)
        await ground.publish()
        with pytest.raises(JobLost):
            await ground.attempt(first)
    assert (ground.delivery()["status"], ground.delivery()["attempts"]) == ("pending", 0)
    assert ground.rows("SELECT is_active FROM webhooks") == [(True,)]


async def test_a_webhook_switched_off_meanwhile_is_not_called(ground: Ground) -> None:
    async with receiver(OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        async with ground.queue.db.transaction(ground.acme) as tx:
            await ground.service.update(tx, webhook.id, {"is_active": False})
        assert await ground.attempt() is None
    delivery = ground.delivery()
    assert (server.connections, ground.job()["status"]) == (0, "completed")
    assert (delivery["status"], delivery["attempts"], delivery["last_error_code"]) == ("failed", 0, "WEBHOOK_INACTIVE")


async def test_a_deleted_webhook_is_not_called(ground: Ground) -> None:
    async with receiver(OK) as server:
        webhook = await ground.webhook(server.port)
        await ground.publish()
        async with ground.queue.db.transaction(ground.acme) as tx:
            await ground.service.delete(tx, webhook.id)
        assert await ground.attempt() is None
    assert server.connections == 0


async def test_a_worker_runs_the_handler(ground: Ground) -> None:
    async with receiver(OK) as server:
        await ground.webhook(server.port)
        await ground.publish()
        process = ground.queue.process()
        worker = Worker(
            process.dispatcher,
            WORKFLOW_QUEUE,
            {DELIVER: ground.handler()},
            slots=2,
            tenant_limit=2,
            metrics=QueueMetrics(CollectorRegistry()),
        )
        worker.start()
        await eventually(lambda: is_delivered(ground))
        await worker.drain(5)
        await worker.stop()
    assert (len(server.requests), ground.job()["status"]) == (1, "completed")


async def is_delivered(ground: Ground) -> bool:
    return bool(ground.delivery()["status"] == "delivered")
