"""How good what is found is: the Cranfield collection's questions, and what each part of a search contributes."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import get_args
from uuid import UUID

import numpy as np

from bench.progress import say
from bench.queueing.processes import running
from bench.queueing.producer import Producer, as_superuser, forget_jobs, open_producer
from bench.queueing.rounds import Rounds
from bench.retrieval.cranfield import Collection, ndcg, read_collection
from bench.retrieval.filling import Ingestions, enqueue
from bench.retrieval.fusions import PARTS, Constants, CrossValidated, Judged, cross_validate, mean_ndcg
from bench.retrieval.rankings import Rankings
from bench.retrieval.tenants import Tenant, make_tenants
from bench.rows import Row, at_least
from copilot_common.embedding import Embedder, build_embedder
from copilot_common.platform.settings import load_settings
from copilot_devstack.worker_server import ContextServiceServer
from copilot_domain.context import NewItem, SearchRequest
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.types import SearchMode

_LIMITS = {"wordllama-256": 0.415, "minilm-384": 0.445}
_SHOWN = 20  # passages: more than ten documents
_MODES: tuple[SearchMode, ...] = get_args(SearchMode)


@dataclass(frozen=True)
class _Measured:
    model: str
    questions: int
    chunks: int
    searched: dict[SearchMode, float]
    parts: dict[str, float]
    validated: CrossValidated


def measure(rounds: Rounds) -> list[Row]:
    if not rounds.plan.cranfield:
        return [left_out()]
    collection = read_collection(Path(rounds.plan.cranfield))
    tenant = make_tenants(rounds.product, {"cranfield": len(collection.documents)})["cranfield"]
    measured = asyncio.run(_play(rounds, collection, tenant))
    forget_jobs(rounds.product)
    return rows(measured)


async def _play(rounds: Rounds, collection: Collection, tenant: Tenant) -> _Measured:
    chosen = {name: value for name, value in os.environ.items() if name.startswith("EMBEDDING_")}
    embedder = build_embedder(load_settings({**rounds.product.connections, **chosen}))
    await embedder.load()
    try:
        async with open_producer(rounds.product) as producer:
            numbers = await _ingest(rounds, producer, collection, tenant, chosen)
            searched = {mode: await _search(producer, embedder, collection, tenant, mode, numbers) for mode in _MODES}
            judged = await _candidates(rounds, producer, embedder, collection, tenant, numbers)
    finally:
        await embedder.aclose()
    say("quality: what each part contributes")
    parts = {name: mean_ndcg(judged, rank) for name, rank in PARTS.items()}
    count = len({chunk for one in judged for chunk in one.candidates.chunk_ids})
    return _Measured(embedder.spec.name, len(judged), count, searched, parts, cross_validate(judged))


async def _ingest(
    rounds: Rounds, producer: Producer, collection: Collection, tenant: Tenant, environ: Mapping[str, str]
) -> dict[UUID, int]:
    """Returns the documents' numbers by their items."""
    say("quality: the documents are ingested")
    texts = {number: f"# {title}\n\n{text}" for number, (title, text) in collection.documents.items() if title or text}
    items = [NewItem(name=f"document {number}", type="text", content=text) for number, text in texts.items()]
    ids = await enqueue(producer, tenant.principal, items)
    with running(ContextServiceServer, rounds.product, environ), Ingestions(rounds.product) as ingestions:
        await ingestions.until("quality")
    return dict(zip(ids, texts, strict=True))


async def _search(
    producer: Producer,
    embedder: Embedder,
    collection: Collection,
    tenant: Tenant,
    mode: SearchMode,
    numbers: Mapping[UUID, int],
) -> float:
    """nDCG@10 of the searches that the product answers: a document is where its best passage is."""
    say(f"quality: {len(collection.judged)} questions, {mode}")
    search, gains = ContextSearch(producer.db, Embedders(embedder)), []
    for question, relevant in collection.judged:
        request = SearchRequest(query=question, mode=mode, limit=_SHOWN)
        hits = (await search.search(tenant.principal, request)).results
        gains.append(ndcg(list(dict.fromkeys(numbers[hit.item_id] for hit in hits)), relevant))
    return fmean(gains)


async def _candidates(
    rounds: Rounds,
    producer: Producer,
    embedder: Embedder,
    collection: Collection,
    tenant: Tenant,
    numbers: Mapping[UUID, int],
) -> list[Judged]:
    say("quality: candidates")
    query = "SELECT id, item_id FROM context_chunks WHERE tenant_id = %s"
    pairs = as_superuser(rounds.product, query, tenant.principal.tenant_id)
    documents = {chunk_id: numbers[UUID(str(item_id))] for chunk_id, item_id in pairs}
    rankings, judged = Rankings(producer.db, embedder), []
    for question, relevant in collection.judged:
        found = await rankings.candidates(tenant.principal, question)
        judged.append(Judged(found, np.array([documents[one] for one in found.chunk_ids]), relevant))
    return judged


def left_out() -> Row:
    return Row(
        name="Cranfield nDCG@10, hybrid",
        target=f"≥ {_LIMITS['wordllama-256']:g}",
        measured="left out",
        verdict="not measured",
        notes=["the collection is not part of this repository: --cranfield PATH"],
    )


def rows(measured: _Measured) -> list[Row]:
    model, validated = measured.model, measured.validated
    limit, hybrid = _LIMITS.get(model), measured.searched["hybrid"]
    note = (
        f"{measured.questions} questions; documents of one to three chunks ({measured.chunks} were candidates of some "
        "question), each where its best passage is"
    )
    return [
        Row(
            name=f"Cranfield nDCG@10, hybrid, {model}",
            target="–" if limit is None else f"≥ {limit:g}",
            measured=f"{hybrid:.4f}",
            verdict="reported" if limit is None else at_least(hybrid, limit),
            notes=[note],
        ),
        *(_reported(f"the same, {mode}", measured.searched[mode]) for mode in _MODES if mode != "hybrid"),
        *(_reported(f"its candidates: {name}", value) for name, value in measured.parts.items()),
        _reported(
            "its candidates: constants chosen on other questions",
            validated.ndcg,
            f"of {len(validated.chosen)} folds by turns four choose and one is scored; chosen: "
            f"{_several(validated.chosen)}",
            f"best on all questions {validated.best_ndcg:.4f}: {_shown(validated.best)}",
        ),
    ]


def _reported(name: str, value: float, *notes: str) -> Row:
    return Row(name=name, target="–", measured=f"{value:.4f}", verdict="reported", notes=list(notes))


def _shown(constants: Constants) -> str:
    if not constants.feedback:
        return f"weight {constants.vector_weight:g}, no feedback"
    return (
        f"weight {constants.vector_weight:g}, {constants.feedback} fed back × {constants.feedback_weight:g}, "
        f"then weight {constants.feedback_vector_weight:g}"
    )


def _several(chosen: Sequence[Constants]) -> str:
    return "; ".join(_shown(constants) for constants in chosen)
