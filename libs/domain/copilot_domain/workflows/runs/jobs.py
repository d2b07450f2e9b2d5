"""Background work of runs."""

from uuid import UUID

from copilot_common.queue import WORKFLOW_QUEUE, JobPayload, JobType


class AdvanceRun(JobPayload, frozen=True):
    run_id: UUID


ADVANCE_RUN = JobType("run.advance", AdvanceRun, WORKFLOW_QUEUE)
"""One job leads a run from its start to its end, and is parked while the run waits."""
