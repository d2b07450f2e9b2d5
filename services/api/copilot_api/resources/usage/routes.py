"""/usage: what calls to providers came to."""

from typing import Annotated

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from copilot_api.http.parameters import ActingPrincipal, AppServices
from copilot_domain.moments import parse_moment
from copilot_domain.usage import GroupBy, UsageReport, sum_usage


@get("/api/v1/usage", tags=["usage"])
async def show_usage(
    principal: ActingPrincipal,
    services: AppServices,
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    until: Annotated[str | None, QueryParameter(name="to")] = None,
    group_by: FromQuery[GroupBy] = "day",
) -> UsageReport:
    """By default of the last 30 days; without the scope admin one's own calls only. A date in `to` is included."""
    begin, end = parse_moment(since, field="from"), parse_moment(until, field="to", ends_span=True)
    return await services.tenants_db.read(
        principal, lambda tx: sum_usage(tx, since=begin, until=end, group_by=group_by)
    )


usage_router = Router("/", route_handlers=[show_usage])
