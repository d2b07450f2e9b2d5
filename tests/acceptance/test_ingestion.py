"""The context service is killed again and again amid many items: each becomes ready, once. A dead job ends its item."""

import asyncio
from typing import Any
from uuid import uuid4

from copilot_domain.documents import chunking
from copilot_domain.documents.types import Document, Section
from support import office_files
from support.api import Site, StartApi
from support.background import add_item, ready_item
from support.clients import V1, Client, eventually
from support.workers import CONTEXT, Workers, wait_ready

ITEMS = 500
FILES = (
    ("report.docx", office_files.word()),
    ("deck.pptx", office_files.slides()),
    ("book.pdf", office_files.pdf()),
    ("all.zip", office_files.packed({"a.md": "# A\n\nwords", "b.txt": "and more of them"})),
)
LONG = "\n\n".join(f"Paragraph {number}. " + f"The walrus of day {number} swims on. " * 25 for number in range(20))


def marks() -> list[str]:
    """Words that no two items share, and no stemming changes."""
    return [f"q{uuid4().hex[:15]}" for _ in range(ITEMS)]


def text_of(number: int, mark: str) -> str:
    return f"{LONG}\n\n{mark}" if number % 50 == 0 else f"Note {number} says {mark}."


def pieces_of(text: str) -> int:
    section = Section(start=0, end=len(text), kind="text")
    document = Document(text=text, sections=(section,), media_type="text/plain")
    return len(list(chunking.cut(document, chunking.ChunkRules(tokenizer="wordllama"))))


async def add_all(client: Client, texts: list[str]) -> None:
    gate = asyncio.Semaphore(8)

    async def add(text: str) -> None:
        async with gate:
            answer = await client.call("POST", "/context", {"name": "note", "type": "text", "content": text})
            assert answer.status_code == 201, answer.text

    await asyncio.gather(*map(add, texts))
    files = [("file", (name, data, "application/octet-stream")) for name, data in FILES]
    answer = await client.http.post(f"{V1}/context/files", files=files)
    assert answer.status_code == 201, answer.text


def statuses(site: Site) -> dict[str, int]:
    return dict(site.rows("SELECT status, count(*) FROM context_items GROUP BY status"))


def scalar(site: Site, query: str) -> Any:
    return site.rows(query)[0][0]


async def found_once(client: Client, mark: str) -> None:
    answer = await client.call("POST", "/context/search", {"query": mark, "mode": "text"})
    assert answer.status_code == 200, answer.text
    hits = answer.json()["results"]
    assert [hit["text"].count(mark) for hit in hits] == [1], mark


async def test_every_item_is_ready_once_though_the_service_is_killed_amid_them(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    api = start_api(site.environ())
    words = marks()
    texts = [text_of(number, mark) for number, mark in enumerate(words)]
    async with api.client(site.acme) as client:
        await add_all(client, texts)
        count = ITEMS + len(FILES)
        service = workers(site.environ(), CONTEXT)
        for least in (count // 5, count // 2):

            async def is_amid(least: int = least) -> bool:
                now = statuses(site)
                return now.get("ready", 0) >= least and now.get("processing", 0) > 0

            await eventually(is_amid, seconds=30, what="the service amid its items")
            service.kill()
            assert statuses(site).get("ready", 0) < count
            service = workers.again(service)
        wait_ready(service)

        async def is_done() -> bool:
            return statuses(site) == {"ready": count}

        await eventually(is_done, seconds=60, what="the end of all ingestions")
        chunks = sum(map(pieces_of, texts))
        of_texts = "JOIN context_items i ON i.id = c.item_id AND i.type = 'text'"
        assert scalar(site, f"SELECT count(*) FROM context_chunks c {of_texts}") == chunks
        total = scalar(site, "SELECT count(*) FROM context_chunks")
        assert total == scalar(site, "SELECT sum(chunk_count) FROM context_items")
        assert total == scalar(site, "SELECT count(*) FROM context_embeddings")
        known = "b.id = i.content_id OR b.id = i.source_id"
        assert (
            scalar(site, f"SELECT count(*) FROM blobs b LEFT JOIN context_items i ON {known} WHERE i.id IS NULL") == 0
        )
        assert scalar(site, "SELECT count(*) FROM blobs") == count + len(FILES)
        assert scalar(site, "SELECT count(*) FROM jobs WHERE kind = 'context.merge/1'") > 0
        for start in range(0, ITEMS, 50):
            await asyncio.gather(*(found_once(client, mark) for mark in words[start : start + 50]))


async def test_items_whose_job_is_dead_are_looked_for_and_fail(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    """No attempt is left that could say so: a process was lost with each."""
    api = start_api(site.environ())
    async with api.client(site.acme) as client:
        lost = [await add_item(client, "The heron stays.") for _ in range(2)]
        site.rows("UPDATE jobs SET status = 'dead', error_code = 'LAPSED', ended_at = now()")
        site.rows("UPDATE context_items SET status = 'processing' WHERE id = %s", lost[0])
        workers(site.environ(), CONTEXT)
        for item in lost:
            ended = await ready_item(client, item)
            assert (ended["status"], ended["error"]["code"]) == ("failed", "WORKER_LOST")
