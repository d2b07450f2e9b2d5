"""/audit: who changed what, from where."""

from typing import Annotated
from uuid import UUID

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from copilot_api.http.parameters import ActingPrincipal, AppServices, QueryText, WantedPage
from copilot_domain.audit import AuditEntry, AuditFilter, list_audit
from copilot_domain.moments import parse_moment
from copilot_domain.pagination import Page


@get("/api/v1/audit", tags=["audit"])
async def show_audit(
    principal: ActingPrincipal,
    services: AppServices,
    wanted: WantedPage,
    actor: FromQuery[UUID | None] = None,
    user: FromQuery[UUID | None] = None,
    action: QueryText = None,
    resource_type: QueryText = None,
    resource_id: FromQuery[UUID | None] = None,
    address: QueryText = None,
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    until: Annotated[str | None, QueryParameter(name="to")] = None,
) -> Page[AuditEntry]:
    """The newest first. `actor` is the credential's id, `user` the user's it belongs to."""
    chosen = AuditFilter(
        actor=actor,
        user=user,
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        address=address,
        since=parse_moment(since, field="from"),
        until=parse_moment(until, field="to", ends_span=True),
    )
    return await services.tenants_db.read(principal, lambda tx: list_audit(tx, chosen, wanted))


audit_router = Router("/", route_handlers=[show_audit])
