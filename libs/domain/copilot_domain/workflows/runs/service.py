"""Runs, as the API asks for them: started, looked at, cancelled, begun again; and what people answer."""

from uuid import UUID

from copilot_common.base.errors import Conflict, NotFound
from copilot_common.blobs import BlobStore
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.queue import Ledger, NewJob
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import EXACT_TOTAL, Page, PageRequest, page
from copilot_domain.workflows.graph import StateRow, mermaid
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.runs.cancelling import check_unended, request_cancel
from copilot_domain.workflows.runs.events import ProgressRow
from copilot_domain.workflows.runs.forking import find_fork
from copilot_domain.workflows.runs.jobs import ADVANCE_RUN, AdvanceRun
from copilot_domain.workflows.runs.outputs import OutputReader
from copilot_domain.workflows.runs.repository import (
    ReviewRow,
    RunRow,
    ShownReviewRow,
    StepRunRow,
    decode_value,
    encode_value,
    sql,
)
from copilot_domain.workflows.runs.retrying import set_aside
from copilot_domain.workflows.runs.starting import begin_alone, start_run
from copilot_domain.workflows.runs.types import NewRun, Review, ReviewAnswer, Run, RunStatus, StepRun
from copilot_domain.workflows.versions import Versions

_ANSWERED = "review.answered"
_LAST_ID = UUID(int=2**128 - 1)


class RunService:
    """Methods that take a transaction are one step of it; the caller commits."""

    def __init__(self, db: TenantDatabase, blobs: BlobStore, ledger: Ledger, versions: Versions) -> None:
        self._db = db
        self._blobs = blobs
        self._ledger = ledger
        self._versions = versions

    async def start_alone(self, principal: Principal, new: NewRun) -> Run | None:
        """`start` as a transaction of its own, in one round trip. None where it cannot be: nothing is done then."""
        return await begin_alone(self._db, self._ledger, self._versions, principal, new)

    async def start(self, tx: Transaction, new: NewRun) -> Run:
        """Raises NotFound, InvalidInput."""
        run = await start_run(tx, self._ledger, self._versions, new)
        await record_audit(tx, "run.started", run.id, details={"workflow_id": str(new.workflow_id)})
        return run

    async def get(self, principal: Principal, run_id: UUID) -> Run:
        """Raises NotFound."""

        async def look(tx: Transaction) -> tuple[RunRow, TenantCipher]:
            return await self._row(tx, run_id), await tx.cipher()

        row, cipher = await self._db.read(principal, look)
        outputs = None
        if row.outputs_of is not None:
            found = await self._reader(principal, cipher).read(run_id, [row.outputs_of])
            outputs = decode_value(found[row.outputs_of]) if row.outputs_of in found else None
        return row.open(cipher, outputs)

    async def list(
        self, tx: Transaction, wanted: PageRequest, *, workflow_id: UUID | None, status: RunStatus | None
    ) -> Page[Run]:
        """Newest first, without their outputs."""
        cipher = await tx.cipher()
        filters = {"tenant_id": tx.principal.tenant_id, "workflow_id": workflow_id, "status": status}
        place = {"before": wanted.position(UUID) or _LAST_ID, "offset": wanted.offset, "limit": wanted.fetch}
        rows = await tx.fetch_all(RunRow, sql["list_runs"], filters | place, prepare=False)
        count = await tx.fetch_value(sql["count_runs"], filters | {"count_limit": EXACT_TOTAL + 1}, prepare=False)
        counted = count if isinstance(count, int) else 0
        return page(wanted, rows, key=lambda row: row.id, item=lambda row: row.open(cipher, None), counted=counted)

    async def steps(self, principal: Principal, run_id: UUID, wanted: PageRequest) -> Page[StepRun]:
        """In the order of their beginning. Raises NotFound."""

        async def look(tx: Transaction) -> tuple[list[StepRunRow], object, TenantCipher]:
            await self._row(tx, run_id)
            key: dict[str, object] = {"tenant_id": principal.tenant_id, "run_id": run_id}
            place = {"after": wanted.position(int) or 0, "offset": wanted.offset, "limit": wanted.fetch}
            rows = await tx.fetch_all(StepRunRow, sql["steps_of_run"], key | place)
            count = await tx.fetch_value(sql["count_steps"], key | {"count_limit": EXACT_TOTAL + 1})
            return rows, count, await tx.cipher()

        rows, count, cipher = await self._db.read(principal, look)
        reader = self._reader(principal, cipher)
        outputs = {row.key: await reader.open(run_id, row) for row in rows[: wanted.limit]}
        return page(
            wanted,
            rows,
            key=lambda row: row.started_event,
            item=lambda row: row.open(run_id, cipher, outputs.get(row.key)),
            counted=count if isinstance(count, int) else 0,
        )

    async def reviews(self, tx: Transaction, run_id: UUID, wanted: PageRequest) -> Page[Review]:
        """Oldest first. Raises NotFound."""
        await self._row(tx, run_id)
        cipher = await tx.cipher()
        key: dict[str, object] = {"tenant_id": tx.principal.tenant_id, "run_id": run_id}
        place = {"after": wanted.position(int) or 0, "offset": wanted.offset, "limit": wanted.fetch}
        rows = await tx.fetch_all(ShownReviewRow, sql["reviews_of_run"], key | place)
        count = await tx.fetch_value(sql["count_reviews"], key | {"count_limit": EXACT_TOTAL + 1})
        counted = count if isinstance(count, int) else 0
        return page(wanted, rows, key=lambda row: row.event, item=lambda row: row.open(cipher), counted=counted)

    async def graph(self, tx: Transaction, workflow_id: UUID, version: int | None = None) -> str:
        """The current version, or that one, as a Mermaid flowchart. Raises NotFound."""
        current = (await WorkflowRepository().get(tx, workflow_id)).current_version
        return mermaid((await self._versions.get(tx, workflow_id, version or current)).definition)

    async def graph_of_run(self, tx: Transaction, workflow_id: UUID, run_id: UUID) -> str:
        """The same with the states of a run's steps. Raises NotFound, also for a run of another workflow."""
        row = await tx.fetch_one(ProgressRow, sql["progress"], self._key(tx, run_id))
        if row is None or row.workflow_id != workflow_id:
            raise NotFound("run")
        key = {"tenant_id": tx.principal.tenant_id, "run_id": run_id}
        states = await tx.fetch_all(StateRow, sql["states_of_steps"], key)
        return mermaid((await self._versions.get(tx, workflow_id, row.version)).definition, states)

    async def cancel(self, tx: Transaction, run_id: UUID) -> Run:
        """It has ended within about two seconds. Raises NotFound, or Conflict for a run that has ended."""
        row = await request_cancel(tx, self._ledger, run_id)
        check_unended(row)
        await record_audit(tx, "run.cancelled", run_id)
        return row.open(await tx.cipher(), None)

    async def retry(self, tx: Transaction, run_id: UUID) -> Run:
        """From the step that failed, with what had completed kept. Raises NotFound, or Conflict for a run that has not
        failed, or would fail again at once."""
        row = await self._row(tx, run_id, is_locked=True)
        if row.status != "failed":
            raise Conflict(f"This run is {row.status}.", details={"status": row.status})
        pinned = await self._versions.get(tx, row.workflow_id, row.version)
        await set_aside(tx, row, pinned.program)
        payload = AdvanceRun(run_id)
        job_id = await self._ledger.enqueue(
            tx, NewJob(type=ADVANCE_RUN, payload=payload, priority=pinned.definition.priority)
        )
        await tx.execute(sql["begin_again"], self._key(tx, run_id) | {"job_id": job_id})
        await record_audit(tx, "run.retried", run_id)
        return (await self._row(tx, run_id)).open(await tx.cipher(), None)

    async def fork(self, tx: Transaction, run_id: UUID, from_step: str) -> Run:
        """A new run from the same inputs, which has done what the other one had until that step began. Raises NotFound,
        InvalidInput for no step's path or id, Conflict where the run has not come to it."""
        row = await self._row(tx, run_id)
        program = (await self._versions.get(tx, row.workflow_id, row.version)).program
        fork = await find_fork(tx, row, program, from_step)
        new = NewRun(workflow_id=row.workflow_id, inputs=row.inputs(await tx.cipher()), version=row.version)
        run = await start_run(tx, self._ledger, self._versions, new, fork=fork)
        await record_audit(tx, "run.forked", run.id, details={"from_run_id": str(run_id)})
        return run

    async def answer(self, tx: Transaction, run_id: UUID, review_id: UUID, answer: ReviewAnswer) -> Run:
        """The first decision counts; another one changes nothing. Raises NotFound, or Conflict where the run has ended
        without it, or its step has."""
        row = await self._row(tx, run_id)
        key = self._key(tx, review_id)
        review = await tx.fetch_one(ReviewRow, sql["get_review"], key | {"run_id": run_id})
        if review is None:
            raise NotFound("review")
        if review.decision is None:
            check_unended(row)
            if not review.is_open:
                raise Conflict("Nobody waits for this answer any more.", details={"status": row.status})
            await tx.execute(sql["answer_review"], key | await self._sealed(tx, review_id, answer))
            await record_audit(tx, "review.answered", review_id, details={"decision": answer.decision})
            await self._ledger.signal(tx, row.job_id, _ANSWERED)
        return row.open(await tx.cipher(), None)

    async def _sealed(self, tx: Transaction, review_id: UUID, answer: ReviewAnswer) -> dict[str, object]:
        cipher, data = await tx.cipher(), answer.data
        return {
            "decision": answer.decision,
            "comment_sealed": answer.comment and cipher.seal_text(Purpose.REVIEW_COMMENT, review_id, answer.comment),
            "answer_sealed": data and cipher.seal(Purpose.REVIEW_ANSWER, review_id, encode_value(data)),
            "answered_by": tx.principal.acting_user,
        }

    async def _row(self, tx: Transaction, run_id: UUID, *, is_locked: bool = False) -> RunRow:
        row = await tx.fetch_one(RunRow, sql["lock_run" if is_locked else "get_run"], self._key(tx, run_id))
        if row is None:
            raise NotFound("run")
        return row

    @staticmethod
    def _key(tx: Transaction, row_id: UUID) -> dict[str, object]:
        return {"tenant_id": tx.principal.tenant_id, "id": row_id}

    def _reader(self, principal: Principal, cipher: TenantCipher) -> OutputReader:
        return OutputReader(self._db, self._blobs, principal, cipher)
