"""What a job is: its type in code, its row when it is asked for, and when it is claimed.

A payload holds ids and small settings, never content: it is readable in the ledger. Its type is part of the job's kind
(`webhook.deliver/1`), so that workers of an older build leave alone what they do not know.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from copilot_common.base.ids import TenantId, UserId
from copilot_common.tenancy import Principal

Queue = str

WORKFLOW_QUEUE: Queue = "workflow"
CONTEXT_QUEUE: Queue = "context"
QUEUES: tuple[Queue, ...] = (WORKFLOW_QUEUE, CONTEXT_QUEUE)

_MAX_FAILURES = 8
_FIRST_PAUSE = timedelta(seconds=2)
_LONGEST_PAUSE = timedelta(minutes=10)


class JobClass(IntEnum):
    """Which of all due jobs go first, whoever's they are."""

    WAITED_FOR = 1
    """Somebody looks at a screen: a background message."""
    NORMAL = 2
    DEFERRABLE = 3
    """Nobody notices a minute: webhooks, titles."""
    BULK = 4


class JobPayload(msgspec.Struct, frozen=True, array_like=False):
    """Base of every payload."""


P = TypeVar("P", bound=JobPayload)


@dataclass(frozen=True)
class JobType(Generic[P]):
    """`name` is `noun.verb`. A payload that old workers cannot read gets a new `version`.

    Failures pause the job for a random time up to an exponentially growing limit; after `max_failures` it is dead.
    """

    name: str
    payload: type[P]
    queue: Queue
    job_class: JobClass = JobClass.NORMAL
    version: int = 1
    max_failures: int = _MAX_FAILURES
    first_pause: timedelta = _FIRST_PAUSE
    longest_pause: timedelta = _LONGEST_PAUSE

    @property
    def kind(self) -> str:
        return f"{self.name}/{self.version}"

    def longest_pause_after(self, failures: int) -> timedelta:
        """The upper end of full jitter after so many failures."""
        return min(self.longest_pause, self.first_pause * (1 << min(failures, 30)))


@dataclass(frozen=True, kw_only=True)
class NewJob(Generic[P]):
    """A piece of work to be asked for. While a pending job with the same `dedupe_key` is there, it is not needed."""

    type: JobType[P]
    payload: P
    priority: int = 3
    delay: timedelta = timedelta()
    dedupe_key: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A row this process owns until its lease ends or the job does. `fence` is None where the job is only kept for this
    process: it wants to run alone. `role` is None where the job's user has none any more."""

    tenant_id: UUID
    id: UUID
    kind: str
    payload: bytes
    fence: int | None
    failures: int
    lapses: int
    user_id: UUID
    api_key_id: UUID | None
    role: str | None
    traceparent: str | None
    run_after: datetime


@dataclass(slots=True)
class Job(Generic[P]):
    """What a handler gets. `is_settled` is set by whoever wrote the job's end, or parked it, in its own transaction."""

    id: UUID
    fence: int
    payload: P
    principal: Principal
    failures: int
    is_settled: bool = field(default=False)

    @property
    def tenant_id(self) -> TenantId:
        return self.principal.tenant_id

    @property
    def user_id(self) -> UserId:
        return self.principal.acting_user


class JobFailed(Exception):
    """Raised by a handler that knows more than its exception says.

    `code` and `text` are shown to the tenant: no content, no secrets, no foreign text. `is_final`: trying again is
    useless. `pause` replaces the random one.
    """

    def __init__(self, code: str, text: str, *, is_final: bool = False, pause: timedelta | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        self.is_final = is_final
        self.pause = pause


class JobLost(Exception):
    """The job is no longer this process's: whatever was about to be written must not be."""
