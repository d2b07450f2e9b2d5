"""/workflows/runs: runs, their steps, their events and the reviews they wait for."""

from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromQuery, JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once, has_key
from copilot_api.http.json import JsonResponse
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, QueryText, WantedPage
from copilot_api.http.sse import EventStream, LastEventId, event_number, event_stream
from copilot_api.resources.runs.schemas import AnswerReview, ForkRun, StartRun
from copilot_common.base.errors import InvalidInput
from copilot_domain.pagination import Page
from copilot_domain.workflows.runs.types import STATUSES, Review, Run, RunStatus, StepRun


class RunController(Controller):
    path = "/api/v1/workflows/runs"
    tags = ("workflows",)

    @post(dto=StrictBody[StartRun], return_dto=None)
    async def start(
        self, request: HttpRequest, data: JSONBody[StartRun], principal: ActingPrincipal, services: AppServices
    ) -> Response[Run]:
        """202: the run has been accepted and will be led to its end."""
        new = data.to_new()
        if not has_key(request) and (run := await services.runs.start_alone(principal, new)) is not None:
            return JsonResponse(run, status_code=202)
        return await answer_once(services, request, principal, lambda tx: services.runs.start(tx, new), status=202)

    @get()
    async def index(
        self,
        principal: ActingPrincipal,
        services: AppServices,
        wanted: WantedPage,
        workflow_id: FromQuery[UUID | None] = None,
        status: QueryText = None,
    ) -> Page[Run]:
        """Newest first; `outputs` are shown with the run itself."""
        checked = _status(status)
        return await services.tenants_db.read(
            principal, lambda tx: services.runs.list(tx, wanted, workflow_id=workflow_id, status=checked)
        )

    @get("/{run_id:uuid}")
    async def show(self, run_id: PathId, principal: ActingPrincipal, services: AppServices) -> Run:
        return await services.runs.get(principal, run_id)

    @get("/{run_id:uuid}/steps")
    async def steps(
        self, run_id: PathId, principal: ActingPrincipal, services: AppServices, wanted: WantedPage
    ) -> Page[StepRun]:
        """In the order of their beginning. The output of a `parallel` or `loop` is made of its steps' outputs."""
        return await services.runs.steps(principal, run_id, wanted)

    @get("/{run_id:uuid}/events")
    async def events(
        self,
        run_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        last_event_id: LastEventId = None,
    ) -> EventStream:
        """From the start, or after `Last-Event-ID`; live while the run goes on. After an hour the stream is cut without
        `[DONE]`: resume it."""
        after = event_number(last_event_id)
        return event_stream(await services.run_events.open(principal, run_id, after=after))

    @get("/{run_id:uuid}/reviews")
    async def reviews(
        self, run_id: PathId, principal: ActingPrincipal, services: AppServices, wanted: WantedPage
    ) -> Page[Review]:
        """Oldest first."""
        return await services.tenants_db.read(principal, lambda tx: services.runs.reviews(tx, run_id, wanted))

    @post("/{run_id:uuid}/cancel", status_code=200)
    async def cancel(
        self, request: HttpRequest, run_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> Response[Run]:
        """It has ended within about two seconds."""
        return await answer_once(services, request, principal, lambda tx: services.runs.cancel(tx, run_id), status=200)

    @post("/{run_id:uuid}/retry", status_code=202)
    async def retry(
        self, request: HttpRequest, run_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> Response[Run]:
        """From the step that failed; what had completed is kept."""
        return await answer_once(services, request, principal, lambda tx: services.runs.retry(tx, run_id), status=202)

    @post("/{run_id:uuid}/fork", status_code=202, dto=StrictBody[ForkRun], return_dto=None)
    async def fork(
        self,
        request: HttpRequest,
        run_id: PathId,
        data: JSONBody[ForkRun],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Run]:
        """A new run that begins at a step, with what this one had done until then."""
        return await answer_once(
            services, request, principal, lambda tx: services.runs.fork(tx, run_id, data.from_step), status=202
        )

    @post("/{run_id:uuid}/reviews/{review_id:uuid}", status_code=200, dto=StrictBody[AnswerReview], return_dto=None)
    async def answer(
        self,
        request: HttpRequest,
        run_id: PathId,
        review_id: PathId,
        data: JSONBody[AnswerReview],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Run]:
        """The first decision counts; another one changes nothing."""
        answer = data.to_answer()
        return await answer_once(
            services, request, principal, lambda tx: services.runs.answer(tx, run_id, review_id, answer), status=200
        )


def _status(given: str | None) -> RunStatus | None:
    for status in STATUSES:
        if status == given:
            return status
    if given is None:
        return None
    raise InvalidInput({"status": f"must be one of {', '.join(STATUSES)}"})
