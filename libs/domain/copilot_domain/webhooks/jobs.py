"""The job that delivers, and for how long it tries. The handler is `delivering.DeliverWebhook`."""

from datetime import timedelta
from uuid import UUID

from copilot_common.queue import WORKFLOW_QUEUE, JobClass, JobPayload, JobType, NewJob


class DeliverPayload(JobPayload, frozen=True):
    delivery_id: UUID


# After the n-th failure a job pauses for a random time up to min(15 s · 2^(n-1), 4 h), on average for half of that. 22
# attempts have 21 pauses: ten of up to 15 s … 2.1 h, on average 15 s · (2^10 - 1) / 2 = 2.1 h together, then eleven of
# up to 4 h, on average 22 h together. So the last attempt falls 24.1 h after the first on average (standard deviation
# 3.9 h: nearly all of it is sqrt(11) · 4 h / sqrt(12)).
DELIVER = JobType(
    "webhook.deliver",
    DeliverPayload,
    WORKFLOW_QUEUE,
    JobClass.DEFERRABLE,
    max_failures=22,
    first_pause=timedelta(seconds=15),
    longest_pause=timedelta(hours=4),
)


def deliver_job(delivery_id: UUID) -> NewJob[DeliverPayload]:
    """At most one of them is pending for a delivery."""
    return NewJob(type=DELIVER, payload=DeliverPayload(delivery_id), dedupe_key=f"{DELIVER.name}:{delivery_id}")
