"""The composition root: everything the context service is made of is put together here, and nowhere else."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from copilot_common.blobs import PostgresBlobStore
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.platform.settings import Settings
from copilot_common.queue import CONTEXT_QUEUE, Handler, JobType
from copilot_common.queue.process import build_backbone, run_worker
from copilot_common.queue.requests import RequestServer
from copilot_context_service.ingesting import AbandonedItems, ItemIngester, SegmentMerger
from copilot_context_service.searching import answer_search
from copilot_domain.context.asking import SEARCH_METHOD
from copilot_domain.context.ingestion.pipeline import Ingestion
from copilot_domain.context.ingestion.reading import DocumentReader
from copilot_domain.context.jobs import INGEST_ITEM, MERGE_SEGMENTS
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.segments.merging import Merger

SERVICE = "context-service"
PROBE_PORT = 8082


async def run(settings: Settings) -> None:
    """The whole life of the process. Raises SettingsError where it must not work."""
    backbone = build_backbone(SERVICE, settings, version=version("copilot-context-service"))
    db = backbone.tenants_db
    embedder = WordLlamaEmbedder()
    blobs = PostgresBlobStore(db)
    ingestion = Ingestion(db, blobs, embedder, backbone.ledger, DocumentReader(blobs))
    handlers: Mapping[JobType[Any], Handler] = {
        INGEST_ITEM: ItemIngester(ingestion),
        MERGE_SEGMENTS: SegmentMerger(Merger(db)),
    }
    methods = {SEARCH_METHOD: answer_search(ContextSearch(db, embedder))}
    await run_worker(
        backbone,
        CONTEXT_QUEUE,
        handlers,
        probe_port=PROBE_PORT,
        companions=[_Model(embedder), AbandonedItems(backbone.database)],
        on_request=RequestServer(backbone.line, db, methods),
    )


class _Model:
    """Loaded before the first job, not by it."""

    def __init__(self, embedder: WordLlamaEmbedder) -> None:
        self._embedder = embedder

    async def start(self) -> None:
        await self._embedder.load()

    async def stop(self) -> None:
        """Goes with the process."""
