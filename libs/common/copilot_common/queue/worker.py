"""The worker base: claims due jobs of one queue, runs each in a task of its own, and writes how it ended.

    bell, freed slot, or a slow look → claim (one statement) → task per job → handler → completed, in batches
                                                                              └▶ failed: again later, or dead

A job lives under this process's lease. Every second the ledger is asked what is still ours: a job that is not is
cancelled here, one that was asked to stop is stopped, and one that we never heard of is handed back.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic, perf_counter
from typing import Any

import msgspec
from loguru import logger

from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.base.errors import CopilotError, ProviderError, Unavailable
from copilot_common.base.ids import TenantId, UserId
from copilot_common.platform.tasks import end_tasks
from copilot_common.platform.trace import Trace, Tracer, begin_trace, current_span
from copilot_common.queue.dispatching import Claim, Dispatcher
from copilot_common.queue.jobs import ClaimedJob, Job, JobFailed, JobLost, JobType
from copilot_common.queue.metrics import QueueMetrics
from copilot_common.queue.running import RunningJob, RunningJobs
from copilot_common.queue.settling import Settler
from copilot_common.tenancy import Principal, Role

Handler = Callable[[Job[Any]], Awaitable[None]]

_LOOK_SECONDS = 5.0  # with a bell that works
_POLL_SECONDS = 1.0  # without one
_WATCH_SECONDS = 1.0
_IDLE_WATCH_SECONDS = 10.0  # with nothing to do only strays can be found
_AGAIN_SECONDS = 1.0  # after the database could not be asked
_PASS_ON_SECONDS = 0.25
_STRAY_SECONDS = 10.0  # a claim whose answer never came is handed back after this


class Worker:
    """One per process and queue. `slots`: jobs at once; `tenant_limit`: of one tenant at once, in all processes."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        queue: str,
        handlers: Mapping[JobType[Any], Handler],
        *,
        slots: int,
        tenant_limit: int,
        metrics: QueueMetrics,
        tracer: Tracer | None = None,
        pass_on: Callable[[], None] = lambda: None,
    ) -> None:
        """`pass_on` rings the queue's other workers: a ring reaches one of them, and that one may be full."""
        self._dispatcher = dispatcher
        self._queue = queue
        self._types = {job_type.kind: job_type for job_type in handlers}
        self._handlers = {job_type.kind: handler for job_type, handler in handlers.items()}
        self._slots = slots
        self._tenant_limit = tenant_limit
        self._metrics = metrics
        self._tracer = tracer
        metrics.slots.labels(queue).set(slots)
        self._pass_on = pass_on
        self._passed_on_at = 0.0
        self._running = RunningJobs()
        self._settler = Settler(dispatcher, self._running, self._freed)
        self._wake = asyncio.Event()
        self._has_bell = False
        self._waits_to_be_alone = False
        self._is_draining = False
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._settler.start()
        self._loops = [
            asyncio.create_task(self._claim_forever(), name=f"{self._queue} claims"),
            asyncio.create_task(self._watch_forever(), name=f"{self._queue} watch"),
        ]

    def wake(self) -> None:
        """There may be work."""
        self._wake.set()
        if self._is_draining or len(self._running) >= self._slots:
            self._ring_others()

    def note_bell(self, is_connected: bool) -> None:
        """While nobody can ring, this looks more often. Whoever rang in between was not heard."""
        if is_connected and not self._has_bell:
            self._wake.set()
        self._has_bell = is_connected

    async def drain(self, seconds: float) -> None:
        """Claim nothing more, let running jobs end for this long, then hand back what is left."""
        deadline = monotonic() + seconds
        self._is_draining = True
        self._wake.set()
        logger.bind(running=len(self._running)).info("Draining jobs")
        # A claim that is on its way brings jobs that nobody else can have.
        await _wait(self._loops[:1], max(seconds, _AGAIN_SECONDS))
        await _wait(self._running.tasks(), deadline - monotonic())
        for job in self._running.all():
            job.stop("drained")
        await _wait(self._running.tasks(), _AGAIN_SECONDS)
        await self._settler.flush()

    async def stop(self) -> None:
        """At once: what still runs is left to the lapse of this process's lease."""
        await end_tasks([*self._loops, *self._running.tasks()])
        await self._settler.stop()

    # Claiming

    async def _claim_forever(self) -> None:
        while not self._is_draining:
            self._wake.clear()
            try:
                while await self._claim():
                    pass
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Jobs not claimed")
                await self._ask_again()
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Claiming failed")
                await self._ask_again()
            await self._until_woken()

    async def _ask_again(self) -> None:
        """Soon, also without a ring: the one that was heard has been used up."""
        await asyncio.sleep(_AGAIN_SECONDS)
        self._wake.set()

    async def _claim(self) -> bool:
        """Whether there may be more for the slots that are left."""
        free = 0 if self._is_draining else self._slots - len(self._running)
        if self._waits_to_be_alone and len(self._running):
            return False
        if free <= 0:
            return False
        claimed = await self._dispatcher.claim(
            self._queue,
            known=list(self._types),
            limit=free,
            running=len(self._running),
            tenant_limit=self._tenant_limit,
        )
        ours = [(job, Claim(job.tenant_id, job.id, job.fence)) for job in claimed if job.fence is not None]
        if self._is_draining:  # since the claim was sent
            await self._dispatcher.release([claim for _, claim in ours])
            return False
        self._waits_to_be_alone = any(job.fence is None or job.lapses > 1 for job in claimed)
        for job, claim in ours:
            self._start(job, claim)
        if len(claimed) == free:
            self._ring_others()
        return len(claimed) == free and not self._waits_to_be_alone

    def _ring_others(self) -> None:
        """Now and then is enough; and full workers must not ring each other without end."""
        if monotonic() - self._passed_on_at > _PASS_ON_SECONDS:
            self._passed_on_at = monotonic()
            self._pass_on()

    async def _until_woken(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS if self._has_bell else _POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Running

    def _start(self, claimed: ClaimedJob, claim: Claim) -> None:
        running = RunningJob(claim)
        self._running.add(running)
        self._metrics.running.labels(self._queue).set(len(self._running))
        self._metrics.dispatch.labels(self._queue).observe(
            max(0.0, (datetime.now(UTC) - claimed.run_after).total_seconds())
        )
        running.task = asyncio.create_task(self._run(running, claimed), name=f"job {claimed.kind}")
        running.task.add_done_callback(lambda _: self._ended(running))

    def _ended(self, running: RunningJob) -> None:
        """A completed job keeps its slot until that is written."""
        if not running.is_completing:
            self._running.remove(running)
            self._freed()

    def _freed(self) -> None:
        self._metrics.running.labels(self._queue).set(len(self._running))
        self._wake.set()

    async def _run(self, running: RunningJob, claimed: ClaimedJob) -> None:
        job_type = self._types[claimed.kind]
        trace = self._begin_trace(claimed, job_type)
        began = perf_counter()
        outcome = "lost"
        try:
            outcome = await self._outcome(running, claimed, job_type)
        except Exception as error:  # the database was away while the end was written: watch() will hand the job back
            logger.opt(exception=error).error("Job's end not written")
        finally:
            self._metrics.outcomes.labels(job_type.name, outcome).inc()
            self._metrics.duration.labels(job_type.name).observe(perf_counter() - began)
            trace.span.set({"copilot.job.outcome": outcome})
            trace.span.end()

    def _begin_trace(self, claimed: ClaimedJob, job_type: JobType[Any]) -> Trace:
        trace = begin_trace(claimed.traceparent, self._tracer, f"process {job_type.name}", "consumer")
        trace.tenant_id, trace.user_id = str(claimed.tenant_id), str(claimed.user_id)
        trace.span.set(
            {
                "messaging.system": "copilot",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": self._queue,
                "messaging.message.id": str(claimed.id),
                "copilot.job.type": job_type.name,
                "copilot.job.attempt": claimed.failures + 1,
                "copilot.tenant_id": trace.tenant_id,
            }
        )
        return trace

    async def _outcome(self, running: RunningJob, claimed: ClaimedJob, job_type: JobType[Any]) -> str:
        try:
            return await self._handle(running, claimed, job_type)
        except asyncio.CancelledError:
            return await self._stopped(running)

    async def _handle(self, running: RunningJob, claimed: ClaimedJob, job_type: JobType[Any]) -> str:
        try:
            running.job = job = _job(running.claim, claimed, job_type)
            await self._handlers[claimed.kind](job)
        except JobLost:
            return "lost"
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and running.is_cancelled:
                raise
            return await self._fail(running.claim, claimed, job_type, error)
        if not job.is_settled:
            running.is_completing = True
            self._settler.complete(running)
        return "completed"

    async def _fail(self, claim: Claim, claimed: ClaimedJob, job_type: JobType[Any], error: BaseException) -> str:
        failure = _as_failure(error)
        current_span().fail(failure.code)
        pause = job_type.longest_pause_after(claimed.failures) * random.random()
        if failure.pause is not None:
            pause = failure.pause
        bound = logger.bind(job_id=str(claim.id), kind=claimed.kind, code=failure.code, failures=claimed.failures + 1)
        status = await self._dispatcher.fail(
            claim, is_final=failure.is_final, pause=pause, code=failure.code, text=failure.text
        )
        if failure.code == "INTERNAL_ERROR":
            bound.opt(exception=error).error("Job failed")
        else:
            bound.bind(status=status).warning("Job failed")
        return "dead" if status == "dead" else "lost" if status is None else "failed"

    async def _stopped(self, running: RunningJob) -> str:
        """The task was cancelled: by us, for a reason, or with the whole process."""
        try:
            match running.stop_reason:
                case "cancelled":
                    await self._dispatcher.cancel(running.claim)
                    return "cancelled"
                case "drained":
                    await self._dispatcher.release([running.claim])
                    return "released"
                case _:
                    return "lost"
        except CopilotError as error:  # as above
            logger.bind(error_type=type(error).__name__).warning("Job's end not written")
            return "lost"

    # Watching

    async def _watch_forever(self) -> None:
        watched_at = monotonic()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if not len(self._running) and monotonic() - watched_at < _IDLE_WATCH_SECONDS:
                continue
            watched_at = monotonic()
            try:
                await self.watch()
            except Unavailable:
                pass  # our lease may be lapsing, but nobody else can take anything either
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Watching jobs failed")

    async def watch(self) -> None:
        """Compare what we run with what the ledger says is ours."""
        ours = self._running.all()
        owned = {job.claim: job for job in await self._dispatcher.owned()}
        for running in ours:
            found = owned.pop(running.claim, None)
            if found is None and not running.is_over and running in self._running:
                running.stop("lost")
            elif found is not None and found.is_cancelled:
                running.stop("cancelled")
        strays = [
            claim
            for claim, job in owned.items()
            if job.running_seconds > _STRAY_SECONDS and not self._running.has(claim)
        ]
        if strays:
            logger.bind(jobs=len(strays)).warning("Jobs handed back that were claimed, but never reached us")
            await self._dispatcher.release(strays)


async def _wait(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, seconds))


def _job(claim: Claim, claimed: ClaimedJob, job_type: JobType[Any]) -> Job[Any]:
    """Raises JobFailed, finally, for a payload that does not decode and for a user who may do nothing any more."""
    try:
        payload = msgspec.msgpack.decode(claimed.payload, type=job_type.payload)
    except msgspec.DecodeError:
        raise JobFailed("PAYLOAD_UNREADABLE", "The job's payload cannot be read.", is_final=True) from None
    return Job(
        id=claim.id, fence=claim.fence, payload=payload, principal=_principal(claimed), failures=claimed.failures
    )


def _principal(claimed: ClaimedJob) -> Principal:
    """Who the job acts as: with the rights it has now, not those it had when it asked."""
    role = next((role for role in ROLE_SCOPES if role == claimed.role), None)
    if role is None:
        raise JobFailed("FORBIDDEN", "The job's user is no longer an active member.", is_final=True)
    return _with_role(claimed, role)


def _with_role(claimed: ClaimedJob, role: Role) -> Principal:
    return Principal(
        kind="api_key" if claimed.api_key_id else "user",
        tenant_id=TenantId(claimed.tenant_id),
        credential_id=claimed.api_key_id or claimed.user_id,
        user_id=UserId(claimed.user_id),
        role=role,
        scopes=ROLE_SCOPES[role],
    )


def _as_failure(error: BaseException) -> JobFailed:
    """What may be shown of it."""
    match error:
        case JobFailed():
            return error
        case ProviderError():
            return JobFailed(error.code, error.message, is_final=error.is_final)
        case CopilotError():
            return JobFailed(error.code, error.message)
        case _:
            return JobFailed("INTERNAL_ERROR", f"The job failed with {type(error).__name__}.")
