"""/audit: who changed what, from where."""

from typing import Annotated
from uuid import UUID

from litestar import Router, get
from litestar.params import Parameter

from copilot_api.services import Services
from copilot_common.tenancy import Principal
from copilot_domain.audit import AuditEntry, AuditFilter, list_audit
from copilot_domain.moments import parse_moment
from copilot_domain.pagination import Page, page_request


@get("/api/v1/audit", tags=["audit"])
async def show_audit(
    principal: Principal,
    services: Services,
    actor: UUID | None = None,
    user: UUID | None = None,
    action: str | None = None,
    resource_type: str | None = None,
    resource_id: UUID | None = None,
    address: str | None = None,
    since: Annotated[str | None, Parameter(query="from")] = None,
    until: Annotated[str | None, Parameter(query="to")] = None,
    limit: int | None = None,
    offset: int | None = None,
    cursor: str | None = None,
) -> Page[AuditEntry]:
    """The newest first. `actor` is the credential's id, `user` the user's it belongs to."""
    wanted = AuditFilter(
        actor=actor,
        user=user,
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        address=address,
        since=parse_moment(since, field="from"),
        until=parse_moment(until, field="to", ends_span=True),
    )
    async with services.tenants_db.transaction(principal) as tx:
        return await list_audit(tx, wanted, page_request(limit, offset, cursor))


audit_router = Router("/", route_handlers=[show_audit])
