"""An item is `processing` no longer than its job has tries: the handler and the ledger count the same ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from loguru import logger

from copilot_common.platform.logs import log_fields
from copilot_common.queue import JobType, Ledger
from copilot_domain.context import NewItem
from copilot_domain.context.ingestion import fetching
from copilot_domain.context.jobs import INGEST_IN_BULK, INGEST_ITEM, REFRESH_ITEM, IngestItem, request_refresh
from integration.context.ground import ContextGround
from integration.context.workers import at_work
from support.clients import eventually
from support.receiver import answer, hang, receiver

PAGE = answer(b"<p>The copper walrus signals.</p>", headers=("Content-Type: text/html",))
TRIES = 6


async def add_page(context: ContextGround, url: str, job_type: JobType[IngestItem]) -> UUID:
    """An item with a job of that type; for a refresh it has been read once."""
    async with context.db.transaction(context.acme) as tx:
        new = NewItem(name="page", type="url", url=url, is_bulk=job_type is INGEST_IN_BULK)
        item = await context.service.create(tx, new)
    if job_type is REFRESH_ITEM:
        assert await context.ingest(item.id) == "ready"
        async with context.db.transaction(context.acme) as tx:
            await request_refresh(tx, Ledger(lambda _: None), item.id)
    return item.id


@contextmanager
def warnings_logged() -> Iterator[list[dict[str, object]]]:
    """As they are written, by the worker and all below it."""
    lines: list[dict[str, object]] = []
    sink = logger.add(lambda line: lines.append(log_fields("context", line.record)), level="WARNING")
    try:
        yield lines
    finally:
        logger.remove(sink)


@pytest.mark.parametrize("job_type", [INGEST_ITEM, INGEST_IN_BULK, REFRESH_ITEM], ids=lambda each: each.name)
async def test_a_page_that_never_answers_ends_its_item_with_the_last_try(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch, job_type: JobType[IngestItem]
) -> None:
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.2)
    before = [PAGE] if job_type is REFRESH_ITEM else []
    async with receiver(*before, hang) as server:
        item_id = await add_page(context, f"http://127.0.0.1:{server.port}/", job_type)

        async def is_dead() -> bool:
            await dispatcher.sweep()
            worker.wake()
            return context.site.rows("SELECT status FROM jobs WHERE kind = %s", job_type.kind) == [("dead",)]

        async with at_work(context) as (worker, dispatcher):
            await eventually(is_dead, seconds=20, what="the last try")
    failed = await context.get(item_id)
    assert failed.error
    assert (failed.status, failed.error.code) == ("failed", "FETCH_TIMEOUT")
    assert len(server.requests) == len(before) + TRIES
    assert len(await context.search("walrus", "text")) == len(before)


async def test_each_try_of_a_page_that_fails_is_one_warning_with_its_code_and_no_word_of_it(
    context: ContextGround,
) -> None:
    async with receiver(answer(b"a secret word", status="503 Service Unavailable")) as server:
        await add_page(context, f"http://127.0.0.1:{server.port}/secret?word", INGEST_ITEM)

        async def are_told() -> bool:
            await dispatcher.sweep()
            worker.wake()
            return len(lines) >= TRIES

        with warnings_logged() as lines:
            async with at_work(context) as (worker, dispatcher):
                await eventually(are_told, seconds=20, what="the last try")
    shown = [(line["level"], line["message"], line["code"], line["failures"]) for line in lines]
    assert shown == [("warning", "Job failed", "FETCH_FAILED", tries) for tries in range(1, TRIES + 1)]
    assert not any(word in str(lines) for word in ("secret", "word", "127.0.0.1", "error_at"))
    assert context.site.rows("SELECT error_code FROM jobs") == [("FETCH_FAILED",)]
