"""/workflows/{id}/schedules."""

from litestar import Controller, Response, delete, get, post
from litestar.params import JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.schedules.schemas import CreateSchedule
from copilot_domain.pagination import Page
from copilot_domain.workflows.schedules.types import Schedule


class ScheduleController(Controller):
    path = "/api/v1/workflows/{workflow_id:uuid}/schedules"
    tags = ("workflows",)

    @post(dto=StrictBody[CreateSchedule], return_dto=None)
    async def create(
        self,
        request: HttpRequest,
        workflow_id: PathId,
        data: JSONBody[CreateSchedule],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Schedule]:
        """Its runs act as whoever makes it."""
        new = data.to_new()
        return await answer_once(
            services, request, principal, lambda tx: services.schedules.create(tx, workflow_id, new), status=201
        )

    @get()
    async def index(
        self, workflow_id: PathId, principal: ActingPrincipal, services: AppServices, wanted: WantedPage
    ) -> Page[Schedule]:
        """Newest first."""
        async with services.tenants_db.transaction(principal) as tx:
            return await services.schedules.list(tx, workflow_id, wanted)

    @delete("/{schedule_id:uuid}")
    async def remove(
        self, workflow_id: PathId, schedule_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> None:
        """What it has started goes on."""
        async with services.tenants_db.transaction(principal) as tx:
            await services.schedules.delete(tx, workflow_id, schedule_id)
