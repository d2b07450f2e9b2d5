"""The ledger of background work, the line that rings its workers, and the worker base."""

from copilot_common.queue.arq_adapter import ArqLine
from copilot_common.queue.depth import DepthGauges
from copilot_common.queue.dispatching import Claim, Dispatcher, OwnedJob, QueueDepth
from copilot_common.queue.jobs import (
    CONTEXT_QUEUE,
    QUEUES,
    WORKFLOW_QUEUE,
    ClaimedJob,
    Job,
    JobClass,
    JobFailed,
    JobLost,
    JobPayload,
    JobType,
    NewJob,
)
from copilot_common.queue.ledger import (
    CANCEL,
    JobRow,
    Ledger,
    complete,
    count_jobs,
    get_job,
    hold,
    list_jobs,
    note_progress,
    park,
)
from copilot_common.queue.metrics import QueueMetrics
from copilot_common.queue.ringing import Ringer
from copilot_common.queue.sweeping import JobSweeper
from copilot_common.queue.worker import Handler, Worker

__all__ = [
    "CANCEL",
    "CONTEXT_QUEUE",
    "QUEUES",
    "WORKFLOW_QUEUE",
    "ArqLine",
    "Claim",
    "ClaimedJob",
    "DepthGauges",
    "Dispatcher",
    "Handler",
    "Job",
    "JobClass",
    "JobFailed",
    "JobLost",
    "JobPayload",
    "JobRow",
    "JobSweeper",
    "JobType",
    "Ledger",
    "NewJob",
    "OwnedJob",
    "QueueDepth",
    "QueueMetrics",
    "Ringer",
    "Worker",
    "complete",
    "count_jobs",
    "get_job",
    "hold",
    "list_jobs",
    "note_progress",
    "park",
]
