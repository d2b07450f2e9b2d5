"""The handler of `run.advance`: opens the run and leads it."""

import asyncio
from dataclasses import dataclass

from copilot_common.base.errors import NotFound
from copilot_common.expressions.errors import ExpressionFailed
from copilot_common.queue import Job, complete
from copilot_domain.workflows.execution.admission import Gate
from copilot_domain.workflows.execution.copying import HistoryCopier
from copilot_domain.workflows.execution.ending import RunEnder
from copilot_domain.workflows.execution.journal import Journal
from copilot_domain.workflows.execution.kinds import Toolbox
from copilot_domain.workflows.execution.metrics import RunMetrics
from copilot_domain.workflows.execution.names import StepNames
from copilot_domain.workflows.execution.outputs import Outputs
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.execution.place import Places
from copilot_domain.workflows.execution.run import ActiveRun
from copilot_domain.workflows.execution.waits import WaitReader
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.nudging import NO_NUDGE, Nudge
from copilot_domain.workflows.runs.outputs import OutputReader
from copilot_domain.workflows.runs.repository import HistoryRow, RunRow, sql


@dataclass(frozen=True, slots=True)
class _Opened:
    row: RunRow
    program: Program
    history: list[HistoryRow]


@dataclass(frozen=True, slots=True)
class _Led:
    """`copier`: of a fork that has not its beginning yet."""

    run: ActiveRun
    gate: Gate
    copier: HistoryCopier | None

    async def end_cancelled(self) -> None:
        await (self.run.end_cancelled() if self.copier is None else self.run.end_unbegun())


class RunLeader:
    """Called with the job. Parked, and called again, as often as the run waits."""

    def __init__(self, toolbox: Toolbox, metrics: RunMetrics, nudge: Nudge = NO_NUDGE) -> None:
        self._toolbox = toolbox
        self._metrics = metrics
        self._nudge = nudge

    async def __call__(self, job: Job[AdvanceRun]) -> None:
        try:
            await self._lead(job)
        except asyncio.CancelledError:  # also of a run that was about to end for that reason anyway
            if not await asyncio.shield(self._end_if_cancelled(job)):
                raise

    async def _lead(self, job: Job[AdvanceRun]) -> None:
        while (opened := await patiently(lambda: self._open(job))) is not None:
            led = await self._led(job, opened)
            if opened.row.cancel_requested:
                return await led.end_cancelled()
            try:
                admission = await led.gate.enter()
                if admission == "admitted" and led.copier is not None:
                    await led.copier.copy()
            except ExpressionFailed as error:
                return await led.run.end_refused(error.reason, error.message)
            except NotFound:
                return await led.run.end_refused("FORK_FAILED", "The run that this one was to begin like is gone.")
            match admission:
                case "admitted" if led.copier is None:
                    return await led.run.lead()
                case "refused":
                    return await led.run.end_refused(
                        "CONCURRENCY_LIMIT", "As many runs as may be are going on already."
                    )
                case "parked":
                    return
                case "admitted" | "called":  # copied; or asked to end, or a slot is free: look again
                    continue

    async def _end_if_cancelled(self, job: Job[AdvanceRun]) -> bool:
        """Whether this was why we were stopped; then the run has ended."""
        opened = await patiently(lambda: self._open(job))
        if opened is None:
            return True
        if opened.row.cancel_requested:
            await (await self._led(job, opened)).end_cancelled()
        return opened.row.cancel_requested

    async def _open(self, job: Job[AdvanceRun]) -> _Opened | None:
        """None where there is nothing to lead: its workflow was deleted, or it has ended."""
        key: dict[str, object] = {"tenant_id": job.tenant_id, "run_id": job.payload.run_id}
        own = {"user_id": job.user_id, "job_id": job.id, "fence": job.fence}
        found = await self._toolbox.db.call(sql["open_run"], key | own)
        row = RunRow(*found) if found else None
        if row is None or row.has_ended:
            async with self._toolbox.db.transaction(job.principal) as tx:
                await complete(tx, job)
            return None
        versions = self._toolbox.versions
        known = versions.known(job.tenant_id, row.workflow_id, row.version)
        if known is not None and row.started_at is None and row.forked_from is None:
            return _Opened(row, known.program, [])
        async with self._toolbox.db.transaction(job.principal) as tx:
            history = await tx.fetch_all(HistoryRow, sql["history"], key)
            version = await versions.get(tx, row.workflow_id, row.version)
        return _Opened(row, version.program, history if row.facts_to_copy is None else [])

    async def _led(self, job: Job[AdvanceRun], opened: _Opened) -> _Led:
        toolbox, row = self._toolbox, opened.row
        cipher = await toolbox.db.cipher(job.principal)
        reader = OutputReader(toolbox.db, toolbox.blobs, job.principal, cipher)
        journal = Journal(toolbox.db, toolbox.blobs, job, row, cipher, metrics=self._metrics, nudge=self._nudge)
        outputs = Outputs(row.id, reader, journal.write)
        about = {"id": str(row.id), "workflow_id": str(row.workflow_id), "version": row.version}
        places = Places(
            opened.program, StepNames(opened.program, outputs), toolbox.evaluator, row.inputs(cipher), about
        )
        gate = Gate(toolbox, job, row, opened.program.definition.concurrency, places, cipher)
        run = ActiveRun(
            toolbox,
            job,
            row,
            opened.program,
            opened.history,
            journal=journal,
            outputs=outputs,
            places=places,
            waits=WaitReader(row.id, reader),
            ender=RunEnder(toolbox.db, toolbox.ledger, job, gate),
        )
        copier = HistoryCopier(toolbox, job, row, opened.program, journal, reader)
        return _Led(run, gate, None if row.facts_to_copy is None else copier)
