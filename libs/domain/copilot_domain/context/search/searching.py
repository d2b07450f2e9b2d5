"""A search, from its question to its passages.

Candidates come from the tenant's segments, in memory: those that share words with the query, by BM25, and those whose
vectors are near its own, by four bits a component. PostgreSQL then says which of them are live and may be seen, and
gives the vectors that have not been read before: by these they are ranked. Where too few are left, it is asked first
which items may be found at all: as many passages are found as there are. What a tenant's principals ask meanwhile is
answered together, to each with his own rights.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias, TypeVar

from copilot_common.base.errors import CopilotError, InvalidInput, ProviderError, Unavailable
from copilot_common.base.ids import TenantId
from copilot_common.platform.coalescing import Grouped, Waiting
from copilot_common.platform.tasks import end_tasks
from copilot_common.reranking import Reranker
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search.answering import Answer, Asked, answer, find_candidates
from copilot_domain.context.search.candidates import Candidates
from copilot_domain.context.search.index import OpenIndex, open_index
from copilot_domain.context.search.reads import Reads
from copilot_domain.context.search.reranking import assemble, rerank
from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.types import MAX_RESULTS, NO_RERANKER, SearchRequest, SearchResult
from copilot_domain.metadata import check_metadata

_TRIES: Final = 3  # the first may learn of another model than the last search, the second of a switch just made
_MODELS_KNOWN: Final = 10_000  # tenants with another model than the default: some 2 MB
_GROUP: Final = 8  # questions: who comes next waits for as many
_GROUPS: Final = 2  # of a tenant at once, where they are slow: of half a million chunks one holds some 70 MB
_PATIENCE_SECONDS: Final = 0.05  # with what takes longer: five times what a group does on an idle machine
# From answers to the next questions of the same askers: of eight on two cores 7 ms, 13 of the slowest hundredth.
_RETURN_SECONDS: Final = 0.02
# From the first of these to the last: of four 0.6 ms, of eight 0.9 for half of the groups.
_TOGETHER_SECONDS: Final = 0.001

T = TypeVar("T")
_Waiting: TypeAlias = Waiting[Asked, Answer]


class _OtherModel(Exception):
    """The index has its vectors by this one."""

    def __init__(self, model: str) -> None:
        self.model = model


class ContextSearch:
    """The searcher of a process."""

    def __init__(
        self,
        db: TenantDatabase,
        embedders: Embedders,
        cache: SegmentCache | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._db = db
        self._embedders = embedders
        self._reranker = reranker
        self._cache = cache or SegmentCache()
        self._models: OrderedDict[TenantId, str] = OrderedDict()  # as they were; of others it is the default
        self._groups = Grouped(
            self._answer_all,
            most=_GROUP,
            at_once=_GROUPS,
            patience_seconds=_PATIENCE_SECONDS,
            return_seconds=_RETURN_SECONDS,
            together_seconds=_TOGETHER_SECONDS,
        )

    async def search(self, principal: Principal, request: SearchRequest) -> SearchResult:
        """The best first, of what the principal may see. Raises InvalidInput; ProviderError for a vector search whose
        embedder fails (a hybrid one goes by words alone and says so)."""
        return (await self.answer(principal, request))[0]

    async def answer(self, principal: Principal, request: SearchRequest) -> tuple[SearchResult, Asked]:
        """As `search`, with what was asked of the index."""
        _check(request)
        if request.rerank and self._reranker is None:
            raise InvalidInput({"rerank": NO_RERANKER})

        async def ask(asked: Asked) -> Answer:
            return await self._groups.ask((principal.tenant_id, asked.model), asked)

        answered = await self._with_model(principal, request, ask)
        hits, degraded = answered.hits, answered.asked.failure is not None
        if answered.ranked is not None and self._reranker is not None:
            ranked, is_reranked = await rerank(self._reranker, request.query, answered.ranked)
            hits, degraded = assemble(ranked, request), degraded or not is_reranked
        return SearchResult(results=hits, degraded=degraded), answered.asked

    async def candidates(self, principal: Principal, request: SearchRequest) -> tuple[Candidates, Numbers | None]:
        """What a search would rank, and the vector of its query: for measuring. Raises as `search`."""
        _check(request)

        async def look(asked: Asked) -> tuple[Candidates, Numbers | None]:
            async with self._opened([asked]) as reads:
                return await find_candidates(reads, asked), asked.vector

        return await self._with_model(principal, request, look)

    async def nearest(self, tx: Transaction, asked: Asked) -> tuple[Candidates, OpenIndex]:
        """What a vector search ranks for this vector, and of which index."""
        reads = Reads(tx, await open_index(tx, self._cache, asked.vector), asked.model)
        by_vector = Asked(asked.principal, SearchRequest(query="", mode="vector"), asked.model, asked.vector)
        return await find_candidates(reads, by_vector), reads.index

    async def _with_model(
        self, principal: Principal, request: SearchRequest, use: Callable[[Asked], Awaitable[T]]
    ) -> T:
        """What is done with the question by the model of the tenant's index."""
        for _ in range(_TRIES):
            model = self._models.get(principal.tenant_id, self._embedders.default.name)
            try:
                return await use(await self._embed(principal, request, model))
            except _OtherModel as other:
                self._note_model(principal.tenant_id, other.model)
        raise Unavailable("The index is changing its model; try again.")

    async def _answer_all(self, _: tuple[TenantId, str], several: Sequence[_Waiting]) -> None:
        try:
            await self._answer_together(several)
        except (CopilotError, _OtherModel):
            raise
        except Exception:
            if len(several) == 1:
                raise
            # One of them has broken the transaction of all.
            for one in (one for one in several if not one.is_over):
                try:
                    await self._answer_together([one])
                except Exception as own:
                    one.refuse(own)

    async def _answer_together(self, several: Sequence[_Waiting]) -> None:
        async with self._opened([one.question for one in several]) as reads:
            askers = {asyncio.create_task(answer(reads, one.question)): one for one in several}
            left = set(askers)
            try:
                while left:
                    # All at once: who asks again as soon as he is answered is again asked with the others. But nobody
                    # waits long for a slow one.
                    ready, left = await asyncio.wait(left, timeout=_PATIENCE_SECONDS)
                    _tell((askers[task], task) for task in ready)
            finally:
                await end_tasks(left)
            errors = (task.exception() for task in askers)
            for error in errors:
                if error is not None and not isinstance(error, CopilotError):
                    raise error

    @asynccontextmanager
    async def _opened(self, several: Sequence[Asked]) -> AsyncIterator[Reads]:
        """A transaction for a tenant's questions by the same model. Raises _OtherModel where the index has another."""
        model, vector = several[0].model, next((one.vector for one in several if one.vector is not None), None)
        # What is not asked with somebody's rights finds what all may see.
        nobody = Principal.nobody(several[0].principal.tenant_id)
        # A merge takes segments away and shows another: no statement may see both, or neither.
        async with self._db.transaction(nobody, is_snapshot=True) as tx:
            index = await open_index(tx, self._cache, vector)
            if index.model not in {None, model}:
                raise _OtherModel(str(index.model))
            yield Reads(tx, index, model)

    def _note_model(self, tenant_id: TenantId, model: str) -> None:
        self._models[tenant_id] = model
        self._models.move_to_end(tenant_id)
        if len(self._models) > _MODELS_KNOWN:
            self._models.popitem(last=False)

    async def _embed(self, principal: Principal, request: SearchRequest, model: str) -> Asked:
        if request.mode == "text":
            return Asked(principal, request, model)
        try:
            async with self._embedders.use(model) as embedder:
                vector: Numbers = (await embedder.embed([request.query], purpose="query")).vectors[0]
        except ProviderError as error:
            return Asked(principal, request, model, failure=error)
        return Asked(principal, request, model, vector if vector.any() else None)


def _tell(answered: Iterable[tuple[_Waiting, asyncio.Task[Answer]]]) -> None:
    """What is no answer and no refusal is left to who waits for the task."""
    for waiting, task in answered:
        error = task.exception()
        if error is None:
            waiting.reply(task.result())
        elif isinstance(error, CopilotError):
            waiting.refuse(error)


def _check(request: SearchRequest) -> None:
    faults: dict[str, str] = {}
    if not request.query.strip():
        faults["query"] = "must not be empty"
    if not 1 <= request.limit <= MAX_RESULTS:
        faults["limit"] = f"must be from 1 to {MAX_RESULTS}"
    if request.max_tokens is not None and request.max_tokens < 1:
        faults["max_tokens"] = "must be at least 1"
    if faults:
        raise InvalidInput(faults)
    check_metadata(request.filter.metadata, field="filter.metadata")
