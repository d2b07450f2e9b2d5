"""/jobs: the tenant's background work, for its admins."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post

from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, QueryText, WantedPage
from copilot_common.base.errors import InvalidInput
from copilot_common.queue import QUEUES, JobRow, count_jobs, get_job, list_jobs
from copilot_common.queue.ledger import LAST_ID
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import EXACT_TOTAL, Page, page

_STATUSES = ("pending", "scheduled", "running", "completed", "cancelled", "dead")


class Redriven(msgspec.Struct, frozen=True):
    """What a redrive answers; the job itself tells how it fares."""

    id: UUID
    status: str = "pending"


class JobController(Controller):
    path = "/api/v1/jobs"
    tags = ("jobs",)

    @get()
    async def index(
        self,
        principal: ActingPrincipal,
        services: AppServices,
        wanted: WantedPage,
        queue: QueryText = None,
        status: QueryText = None,
    ) -> Page[JobRow]:
        """Newest first."""
        _check(queue=(queue, QUEUES), status=(status, _STATUSES))
        async with services.tenants_db.transaction(principal) as tx:
            rows = await list_jobs(
                tx,
                queue=queue,
                status=status,
                before=wanted.position(UUID) or LAST_ID,
                offset=wanted.offset,
                limit=wanted.fetch,
            )
            counted = await count_jobs(tx, queue=queue, status=status, count_limit=EXACT_TOTAL + 1)
        return page(wanted, rows, key=lambda row: row.id, item=lambda row: row, counted=counted)

    @get("/{job_id:uuid}")
    async def show(self, job_id: PathId, principal: ActingPrincipal, services: AppServices) -> JobRow:
        async with services.tenants_db.transaction(principal) as tx:
            return await get_job(tx, job_id)

    @post("/{job_id:uuid}/redrive", status_code=202)
    async def redrive(
        self, request: HttpRequest, job_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> Response[Any]:
        """Begin a dead job anew."""

        async def work(tx: Transaction) -> Redriven:
            await services.ledger.redrive(tx, job_id)
            await record_audit(tx, "job.redriven", job_id)
            return Redriven(job_id)

        return await answer_once(services, request, principal, work, status=202)


def _check(**parameters: tuple[str | None, tuple[str, ...]]) -> None:
    faults = {
        name: f"must be one of {', '.join(known)}"
        for name, (value, known) in parameters.items()
        if value is not None and value not in known
    }
    if faults:
        raise InvalidInput(faults)
