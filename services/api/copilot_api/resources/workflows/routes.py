"""/workflows: definitions and their versions."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, MediaType, Response, delete, get, post, put
from litestar.params import FromQuery, QueryParameter

from copilot_api.http.body import media_type_of
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.workflows.schemas import SYNTAXES, TakesDefinition, Validation
from copilot_common.base.errors import InvalidInput
from copilot_common.tenancy import Transaction
from copilot_domain.pagination import Page
from copilot_domain.workflows.parsing import Syntax
from copilot_domain.workflows.repository import LAST_VERSION
from copilot_domain.workflows.types import Workflow, WorkflowSummary, WorkflowVersion

DEFINITIONS = {"media_types": frozenset(SYNTAXES)}
"""For the access middleware: what a body of these routes may be."""


class WorkflowController(Controller):
    path = "/api/v1/workflows"
    tags = ("workflows",)

    @post(operation_class=TakesDefinition, opt=DEFINITIONS)
    async def create(
        self, request: HttpRequest, principal: ActingPrincipal, services: AppServices
    ) -> Response[Workflow]:
        """A definition, as JSON or YAML."""
        new = await services.workflows.check(await request.body(), _syntax(request))
        return await answer_once(
            services, request, principal, lambda tx: services.workflows.create(tx, new), status=201
        )

    @post("/validate", status_code=200, operation_class=TakesDefinition, opt=DEFINITIONS)
    async def validate(self, request: HttpRequest, services: AppServices) -> Validation:
        """Stores nothing. Also a definition with faults is a 200; what is no JSON or YAML at all is a 400."""
        return Validation.of(await services.workflows.faults(await request.body(), _syntax(request)))

    @get()
    async def index(
        self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage
    ) -> Page[WorkflowSummary]:
        """Newest first."""
        return await services.tenants_db.read(principal, lambda tx: services.workflows.list(tx, wanted))

    @get("/{workflow_id:uuid}")
    async def show(
        self,
        workflow_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        version: FromQuery[int | None] = None,
    ) -> Workflow:
        """The current version, or the one asked for."""
        _check_version(version)
        return await services.tenants_db.read(principal, lambda tx: services.workflows.get(tx, workflow_id, version))

    @get("/{workflow_id:uuid}/graph", media_type=MediaType.TEXT)
    async def graph(
        self,
        workflow_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        version: FromQuery[int | None] = None,
        run_id: FromQuery[UUID | None] = None,
        graph_format: Annotated[str, QueryParameter(name="format")] = "mermaid",
    ) -> Response[str]:
        """A Mermaid flowchart of the current version or the one asked for, or of a run, with the state of each step."""
        if graph_format != "mermaid":
            raise InvalidInput({"format": "must be mermaid"})
        if version is not None and run_id is not None:
            raise InvalidInput({"version": "is the run's"})
        _check_version(version)

        async def draw(tx: Transaction) -> str:
            if run_id is not None:
                return await services.runs.graph_of_run(tx, workflow_id, run_id)
            return await services.runs.graph(tx, workflow_id, version)

        return Response(await services.tenants_db.read(principal, draw), media_type=MediaType.TEXT)

    @get("/{workflow_id:uuid}/versions")
    async def versions(
        self, workflow_id: PathId, principal: ActingPrincipal, services: AppServices, wanted: WantedPage
    ) -> Page[WorkflowVersion]:
        """Newest first."""
        return await services.tenants_db.read(
            principal, lambda tx: services.workflows.versions(tx, workflow_id, wanted)
        )

    @put("/{workflow_id:uuid}", operation_class=TakesDefinition, opt=DEFINITIONS)
    async def replace(
        self, request: HttpRequest, workflow_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> Workflow:
        """A new version; those before stay as they are."""
        new = await services.workflows.check(await request.body(), _syntax(request))
        async with services.tenants_db.transaction(principal) as tx:
            return await services.workflows.update(tx, workflow_id, new)

    @delete("/{workflow_id:uuid}")
    async def remove(self, workflow_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        """Nobody finds it any more; runs of it go on."""
        async with services.tenants_db.transaction(principal) as tx:
            await services.workflows.delete(tx, workflow_id)


def _check_version(version: int | None) -> None:
    if version is not None and not 1 <= version <= LAST_VERSION:
        raise InvalidInput({"version": f"must be from 1 to {LAST_VERSION}"})


def _syntax(request: HttpRequest) -> Syntax:
    """A body that says nothing of itself is taken for JSON; others than these do not get here."""
    return SYNTAXES.get(media_type_of(dict(request.scope["headers"])), "json")
