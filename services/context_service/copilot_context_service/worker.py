"""The composition root: everything the context service is made of is put together here, and nowhere else."""

import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

from copilot_common.blobs import build_blob_store
from copilot_common.embedding import EmbeddingMetrics, build_embedder, describe_embedder
from copilot_common.platform.companions import AtEnd, AtStart, LookOut
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.platform.settings import Settings
from copilot_common.queue import CONTEXT_QUEUE, Handler, JobType
from copilot_common.queue.process import build_backbone, run_worker
from copilot_common.queue.requests import RequestServer
from copilot_common.reranking import RerankMetrics, build_reranker
from copilot_context_service.abandoned import fail_abandoned_items
from copilot_context_service.ingesting import ItemIngester, SegmentMerger
from copilot_context_service.reembedding import IndexReembedder, OldVectorsForgetter
from copilot_context_service.searching import answer_search
from copilot_domain.context import ContextRepository, ContextService
from copilot_domain.context.asking import SEARCH_METHOD
from copilot_domain.context.expiring import ItemExpirer
from copilot_domain.context.ingestion.fetching import Fetcher
from copilot_domain.context.ingestion.metrics import IngestionMetrics
from copilot_domain.context.ingestion.pipeline import Ingestion
from copilot_domain.context.ingestion.reading import DocumentReader, document_sandbox
from copilot_domain.context.jobs import FORGET_MODEL, INGEST_IN_BULK, INGEST_ITEM, MERGE_SEGMENTS, REEMBED, REFRESH_ITEM
from copilot_domain.context.quotas import Quotas, default_limits
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.reembedding.forgetting import ModelForgetter
from copilot_domain.context.reembedding.walking import Reembedder
from copilot_domain.context.refreshing import PageRefresher
from copilot_domain.context.search.canary import RecallCanary, RecallMetrics
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.segments.merging import Merger

SERVICE = "context-service"
PROBE_PORT = 8082
_DOCUMENT_PROCESSES = 2
_TRANSACTIONS = 1  # at a time: ingesting takes turns in PostgreSQL, where a chat has half a core then
_SWITCH_SECONDS = 0.001  # the event loop has the interpreter back from the background thread; by default 5 ms
_LOOK_SECONDS = 10.0
_MAX_FETCHED_BYTES = 50_000_000  # as an upload may have


async def run(settings: Settings) -> None:
    """The whole life of the process. Raises SettingsError where it must not work."""
    backbone = build_backbone(
        SERVICE,
        settings,
        version=version("copilot-context-service"),
        # Some hundred a second of small documents: commits of chats would wait behind theirs, and so would statements.
        is_background=True,
    )
    sys.setswitchinterval(_SWITCH_SECONDS)
    db = backbone.tenants_db
    background = db.in_background(backbone.background, connections=_TRANSACTIONS)
    build = partial(build_embedder, settings, metrics=EmbeddingMetrics(backbone.registry))
    embedders = Embedders(build(), build, describe_embedder)
    reranker = build_reranker(settings, metrics=RerankMetrics(backbone.registry))
    blobs = build_blob_store(settings, background.durable())
    egress = Egress(EgressRules(settings.egress_exemptions))
    sandbox = document_sandbox(size=_DOCUMENT_PROCESSES)
    quotas = Quotas(default_limits(settings))
    fetcher = Fetcher(background, blobs, egress, max_bytes=_MAX_FETCHED_BYTES, quotas=quotas)
    reader = DocumentReader(background, blobs, sandbox, fetcher, embedders)
    metrics = IngestionMetrics(backbone.registry)
    ingestion = Ingestion(background, blobs, embedders, backbone.ledger, reader, quotas, metrics)
    handlers: Mapping[JobType[Any], Handler] = {
        INGEST_ITEM: ItemIngester(ingestion),
        INGEST_IN_BULK: ItemIngester(ingestion),
        REFRESH_ITEM: ItemIngester(ingestion, is_refresh=True),
        MERGE_SEGMENTS: SegmentMerger(Merger(background)),
        REEMBED: IndexReembedder(Reembedder(background, embedders, backbone.ledger)),
        FORGET_MODEL: OldVectorsForgetter(ModelForgetter(background)),
    }
    expirer = ItemExpirer(db, ContextService(ContextRepository(), blobs, backbone.ledger))
    search = RecallCanary(db, ContextSearch(db, embedders, reranker=reranker), RecallMetrics(backbone.registry))
    await run_worker(
        backbone,
        CONTEXT_QUEUE,
        handlers,
        probe_port=PROBE_PORT,
        companions=[
            embedders,
            sandbox,
            AtStart("lockdown of children", sandbox.show_lockdown),
            *([AtEnd(reranker.aclose)] if reranker else []),
            AtEnd(egress.aclose),
            LookOut("items whose job is dead", partial(fail_abandoned_items, backbone.database), every=_LOOK_SECONDS),
            LookOut("expired items", expirer.expire_all, every=_LOOK_SECONDS),
            LookOut("pages that are due", PageRefresher(db, backbone.ledger).look, every=_LOOK_SECONDS),
            search,
            RequestServer(
                backbone.redis, db, CONTEXT_QUEUE, {SEARCH_METHOD: answer_search(search)}, tracer=backbone.tracer
            ),
        ],
    )
