"""The jobs that this process runs."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from copilot_common.queue.dispatching import Claim
from copilot_common.queue.jobs import Job

StopReason = Literal["cancelled", "drained", "lost"]


@dataclass(slots=True, eq=False)
class RunningJob:
    """`is_completing`: the handler has returned, its end is about to be written."""

    claim: Claim
    job: Job[Any] | None = field(default=None, repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    is_completing: bool = False
    stop_reason: StopReason | None = None

    @property
    def is_over(self) -> bool:
        """Its end is written, or about to be: the ledger may say before us that it is no longer ours."""
        return self.is_completing or (self.job is not None and self.job.is_settled)

    @property
    def is_cancelled(self) -> bool:
        """By whoever may: a CancelledError that comes out of a handler unasked is the handler's own failure."""
        return self.task is not None and self.task.cancelling() > 0

    def stop(self, reason: StopReason) -> None:
        """The first reason counts. What has ended already is left alone."""
        if self.stop_reason is None and not self.is_completing and self.task is not None:
            self.stop_reason = reason
            self.task.cancel()


class RunningJobs:
    """By claim: after a take-over the same job may be here twice, under two fences."""

    def __init__(self) -> None:
        self._jobs: dict[Claim, RunningJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, running: RunningJob) -> bool:
        return self._jobs.get(running.claim) is running

    def has(self, claim: Claim) -> bool:
        return claim in self._jobs

    def add(self, running: RunningJob) -> None:
        self._jobs[running.claim] = running

    def remove(self, running: RunningJob) -> None:
        self._jobs.pop(running.claim, None)

    def all(self) -> list[RunningJob]:
        return list(self._jobs.values())

    def tasks(self) -> list[asyncio.Task[None]]:
        return [running.task for running in self._jobs.values() if running.task and not running.task.done()]
