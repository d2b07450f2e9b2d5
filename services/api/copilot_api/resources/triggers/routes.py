"""/workflows/{id}/triggers, and /triggers/{id}, which programs outside call."""

from collections.abc import Callable
from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.params import JSONBody

from copilot_api.http.access import admit
from copilot_api.http.addresses import forwarded_scheme
from copilot_api.http.body import StrictBody, decode_object
from copilot_api.http.context import request_context
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.triggers.schemas import CreateTrigger, TakesInputs
from copilot_api.services import Services
from copilot_domain.pagination import Page
from copilot_domain.workflows.runs.starting import MAX_INPUT_BYTES
from copilot_domain.workflows.triggers import CreatedTrigger, StartedRun, Trigger

_CALLED = "/api/v1/triggers"


class TriggerController(Controller):
    path = "/api/v1/workflows/{workflow_id:uuid}/triggers"
    tags = ("workflows",)

    @post(dto=StrictBody[CreateTrigger], return_dto=None)
    async def create(
        self,
        request: HttpRequest,
        workflow_id: PathId,
        data: JSONBody[CreateTrigger],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[CreatedTrigger]:
        """`secret` is shown only here; who calls `url` signs with it. Runs act as whoever makes the trigger."""
        name, url_of = data.name, _url_of(request, services)
        return await answer_once(
            services,
            request,
            principal,
            lambda tx: services.triggers.create(tx, workflow_id, name, url_of),
            status=201,
            shows_secret=True,
        )

    @get()
    async def index(
        self,
        request: HttpRequest,
        workflow_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        wanted: WantedPage,
    ) -> Page[Trigger]:
        """Newest first."""
        async with services.tenants_db.transaction(principal) as tx:
            return await services.triggers.list(tx, workflow_id, wanted, _url_of(request, services))

    @delete("/{trigger_id:uuid}")
    async def remove(
        self, workflow_id: PathId, trigger_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> None:
        """What it has started goes on."""
        async with services.tenants_db.transaction(principal) as tx:
            await services.triggers.delete(tx, workflow_id, trigger_id)


@post(
    _CALLED + "/{trigger_id:uuid}",
    tags=("workflows",),
    status_code=202,
    operation_class=TakesInputs,
    request_max_body_size=MAX_INPUT_BYTES,
)
async def call_trigger(request: HttpRequest, trigger_id: PathId, services: AppServices) -> StartedRun:
    """Starts a run whose inputs are the body, a JSON object. A repeated `webhook-id` gets the run it has started."""
    context = request_context(request.scope)
    body = await request.body()
    call = await services.triggers.verify(trigger_id, dict(request.headers), body, address=context.address)
    await admit(services.limits, call.principal, context)
    inputs = decode_object(body)
    async with services.tenants_db.transaction(call.principal) as tx:
        return await services.triggers.start(tx, call, inputs)


def _url_of(request: HttpRequest, services: Services) -> Callable[[UUID], str]:
    """Where the caller has reached us, others do too."""
    peer = request.client.host if request.client else None
    forwarded = request.headers.get("x-forwarded-proto")
    scheme = forwarded_scheme(peer, request.url.scheme, forwarded, services.settings.trusted_networks)
    return lambda trigger_id: f"{scheme}://{request.url.netloc}{_CALLED}/{trigger_id}"
