"""However much is to be ingested, it has so many slots and one connection: who searches meanwhile has the others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from support.api import Site, StartApi
from support.background import add_item, ready_item
from support.clients import Client, eventually
from support.workers import CONTEXT, Workers, wait_ready

SLOTS = 6
ITEMS = 3 * SLOTS
POOL = 4
"""Connections: fewer than there are slots."""


@asynccontextmanager
async def writing_held_up(site: Site) -> AsyncIterator[None]:
    """What is ingested for the first tenant waits, in a transaction, before its chunks are written."""
    async with await psycopg.AsyncConnection.connect(site.database.admin_url) as connection:
        held = await connection.execute(
            "SELECT 1 FROM context_indexes WHERE tenant_id = %s FOR UPDATE", [site.acme.tenant_id]
        )
        assert held.rowcount == 1
        yield


def jobs(site: Site) -> dict[str, int]:
    query = "SELECT status, count(*) FROM jobs WHERE kind = 'context.ingest/1' GROUP BY status"
    return dict(site.rows(query))


def held_connections(site: Site) -> int:
    """Of the service's, those in a transaction that waits for a lock."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'context-service' AND wait_event_type = 'Lock'
    """
    return int(site.rows(query)[0][0])


async def found(client: Client, mode: str) -> list[str]:
    answer = await client.call("POST", "/context/search", {"query": "the copper walrus", "mode": mode})
    assert answer.status_code == 200, answer.text
    return [hit["item_id"] for hit in answer.json()["results"]]


async def test_a_search_is_answered_while_ingestion_holds_all_slots_and_its_share_of_the_pool(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ(job_slots=SLOTS, database_pool_max=POOL)
    service = workers(environ, CONTEXT, ready=False)
    async with start_api(environ).client(site.acme) as client:
        wait_ready(service)
        known = await add_item(client, "The copper walrus signals.")
        await ready_item(client, known)
        async with writing_held_up(site):
            items = [await add_item(client, f"Note {number} is one of many.") for number in range(ITEMS)]

            async def is_full() -> bool:
                return jobs(site).get("running") == SLOTS and held_connections(site) == 1

            await eventually(is_full, what="an ingestion in each slot")
            for mode in ("text", "vector", "hybrid"):
                assert await found(client, mode) == [known]
            assert jobs(site) == {"completed": 1, "running": SLOTS, "pending": ITEMS - SLOTS}
            assert held_connections(site) == 1
        for item in items:
            assert (await ready_item(client, item))["status"] == "ready"
    assert most_at_once(site) == SLOTS


def most_at_once(site: Site) -> int:
    """Ingestions, as the ledger has their beginnings and ends."""
    query = """
        SELECT max((SELECT count(*) FROM jobs b WHERE b.started_at <= a.started_at AND a.started_at < b.ended_at))
        FROM jobs a
    """
    return int(site.rows(query)[0][0])
