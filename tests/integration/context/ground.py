"""What the tests of the context stand on: a database with two tenants, and whoever ingests and searches in it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from copilot_common.base.ids import TenantId, UserId
from copilot_common.blobs import BlobStore, PostgresBlobStore
from copilot_common.embedding import Embedder, EmbedderSpec
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, Role, TenantDatabase
from copilot_domain.context import (
    ContextRepository,
    ContextService,
    Item,
    ItemChanges,
    NewItem,
    SearchFilter,
    SearchHit,
    SearchRequest,
)
from copilot_domain.context.ingestion.fetching import Fetcher
from copilot_domain.context.ingestion.metrics import IngestionMetrics
from copilot_domain.context.ingestion.pipeline import Ingestion, Outcome
from copilot_domain.context.ingestion.reading import DocumentReader, document_sandbox
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.types import SearchMode
from support.api import ENCRYPTION_KEY, Site
from support.clients import Credentials

MAX_FETCHED = 1_000_000
"""Bytes of what a URL has."""


@dataclass
class ContextGround:
    site: Site
    db: TenantDatabase
    service: ContextService
    embedders: Embedders
    ingestion: Ingestion
    searcher: ContextSearch
    acme: Principal
    other: Principal
    blobs: BlobStore

    async def add(self, content: str, *, by: Principal | None = None, ingest: bool = True, **fields: Any) -> Item:
        principal = by or self.acme
        new = NewItem(**{"name": "note", "type": "text", **fields, "content": content})
        async with self.db.transaction(principal) as tx:
            item = await self.service.create(tx, new)
        if ingest:
            assert await self.ingest(item.id, by=principal) == "ready"
        return await self.get(item.id, by=principal)

    async def add_file(self, data: bytes, name: str, media_type: str = "") -> Item:
        """Not yet ingested."""
        source = await self.blobs.write(self.acme, uuid4(), _pieces(data), max_bytes=len(data))
        async with self.db.transaction(self.acme) as tx:
            return await self.service.create_file(tx, NewItem(name=name, type="file"), source, media_type)

    async def add_url(self, url: str, refresh_seconds: int | None = None) -> Item:
        """Not yet ingested."""
        async with self.db.transaction(self.acme) as tx:
            new = NewItem(name="page", type="url", url=url, refresh_seconds=refresh_seconds)
            return await self.service.create(tx, new)

    async def ingested(self, item: Item) -> Item:
        await self.ingest(item.id)
        return await self.get(item.id)

    async def reindexed(self, item: Item) -> Item:
        async with self.db.transaction(self.acme) as tx:
            await self.service.reindex(tx, item.id)
        return await self.ingested(item)

    async def text(self, item_id: UUID) -> str:
        """What hits' ranges are of."""
        async with self.db.transaction(self.acme) as tx:
            stored = await self.service.content(tx, item_id)
        return (await self.blobs.read_all(self.acme, stored.blob_id, max_bytes=100_000_000)).decode()

    async def get(self, item_id: UUID, *, by: Principal | None = None) -> Item:
        async with self.db.transaction(by or self.acme) as tx:
            return await self.service.get(tx, item_id)

    async def change(self, item_id: UUID, *, by: Principal | None = None, **fields: Any) -> Item:
        async with self.db.transaction(by or self.acme) as tx:
            return await self.service.update(tx, item_id, ItemChanges(**fields))

    async def delete(self, item_id: UUID) -> None:
        async with self.db.transaction(self.acme) as tx:
            await self.service.delete(tx, item_id)

    async def ingest(self, item_id: UUID, *, by: Principal | None = None, generation: int | None = None) -> Outcome:
        wanted = self.generation(item_id) if generation is None else generation
        return await self.ingestion.ingest(by or self.acme, item_id, wanted)

    async def search(
        self,
        query: str,
        mode: SearchMode = "hybrid",
        *,
        by: Principal | None = None,
        limit: int = 10,
        max_tokens: int | None = None,
        **chosen: Any,
    ) -> Sequence[SearchHit]:
        request = SearchRequest(
            query=query, mode=mode, limit=limit, max_tokens=max_tokens, filter=SearchFilter(**chosen)
        )
        return (await self.searcher.search(by or self.acme, request)).results

    def orphans(self) -> int:
        """Blobs that no item knows of."""
        known = "b.id = i.content_id OR b.id = i.source_id OR b.id = ANY (i.staged_blob_ids)"
        query = f"SELECT count(*) FROM blobs b WHERE NOT EXISTS (SELECT 1 FROM context_items i WHERE {known})"
        return int(self.site.rows(query)[0][0])

    def generation(self, item_id: UUID) -> int:
        return int(self.site.rows("SELECT generation FROM context_items WHERE id = %s", item_id)[0][0])

    def count(self, table: str) -> int:
        return int(self.site.rows(f"SELECT count(*) FROM {table}")[0][0])


def person(tenant: TenantId, role: Role, user_id: UUID | None = None) -> Principal:
    user = UserId(user_id or uuid4())
    return Principal(kind="user", tenant_id=tenant, credential_id=user, user_id=user, role=role)


def owner_of(credentials: Credentials) -> Principal:
    return person(TenantId(UUID(credentials.tenant_id)), "owner", UUID(credentials.user_id))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1_000_000):
        yield data[start : start + 1_000_000]


@asynccontextmanager
async def open_context(
    site: Site,
    embedder: Embedder | None = None,
    build: Callable[[str], Embedder] | None = None,
    describe: Callable[[str], EmbedderSpec | None] | None = None,
    *,
    egress: Egress | None = None,
    metrics: IngestionMetrics | None = None,
) -> AsyncIterator[ContextGround]:
    """Loopback addresses may be fetched from, unless `egress` says otherwise."""
    database = Database(site.database.app_url, max_size=2, application_name="tests")
    await database.open()
    db = TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
    blobs = PostgresBlobStore(db)
    embedders = Embedders(embedder or WordLlamaEmbedder(), build, describe)
    egress = egress or Egress(EgressRules(parse_exemptions("127.0.0.1")))
    # Items may have come to be under other rules than those of today.
    any_url = EgressRules(parse_exemptions("127.0.0.0/8,169.254.0.0/16"), frozenset(range(1, 65_536)))
    sandbox = document_sandbox(size=2)
    await sandbox.start()
    reader = DocumentReader(db, blobs, sandbox, Fetcher(db, blobs, egress, max_bytes=MAX_FETCHED), embedders)
    yield ContextGround(
        site,
        db,
        ContextService(ContextRepository(), blobs, Ledger(lambda _: None), any_url),
        embedders,
        Ingestion(db, blobs, embedders, Ledger(lambda _: None), reader, metrics=metrics),
        ContextSearch(db, embedders),
        owner_of(site.acme),
        owner_of(site.other),
        blobs,
    )
    await sandbox.stop()
    await egress.aclose()
    await database.close()
