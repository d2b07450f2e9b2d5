"""The job that does nothing: what is measured is all that happens around it."""

from copilot_common.queue import WORKFLOW_QUEUE, JobPayload, JobType


class Nothing(JobPayload, frozen=True):
    number: int


NOTHING = JobType("bench.nothing", Nothing, WORKFLOW_QUEUE)
