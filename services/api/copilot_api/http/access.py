"""After routing, before the handler: who is it, may they, not too often, and is it JSON what they send."""

from urllib.parse import parse_qsl

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from copilot_api.http.body import JSON_ONLY, check_media_type
from copilot_api.http.context import RequestContext, request_context
from copilot_common.auth.authenticate import Authenticator
from copilot_common.auth.authority import ROUTES, require
from copilot_common.base.errors import InvalidInput, RateLimited
from copilot_common.limits import Allowance, RequestLimits
from copilot_common.tenancy import Principal


class AccessMiddleware(ASGIMiddleware):
    """Every route is in the authority table (checked at start), so there is no default to fall back to."""

    def __init__(self, authenticator: Authenticator, limits: RequestLimits) -> None:
        self._authenticator = authenticator
        self._limits = limits

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        _refuse_nul(scope["query_string"])
        access = ROUTES.get((scope["method"], scope["path_template"]))  # type: ignore[typeddict-item]
        if access is not None and not access.public:
            context = request_context(scope)
            principal = await self._identify(scope, context)
            await admit(self._limits, principal, context)
            require(principal, access)
        accepted = scope["route_handler"].opt.get("media_types", JSON_ONLY)
        check_media_type(dict(scope["headers"]), accepted)
        await next_app(scope, receive, send)

    async def _identify(self, scope: Scope, context: RequestContext) -> Principal:
        headers = dict(scope["headers"])
        return await self._authenticator.authenticate(
            authorization=_text(headers.get(b"authorization")),
            api_key=_text(headers.get(b"x-api-key")),
            address=context.address,
        )


async def admit(limits: RequestLimits, principal: Principal, context: RequestContext) -> None:
    """It is this principal's request from here on, in the log too, and counted as such. Raises RateLimited."""
    context.principal = principal
    context.trace.tenant_id = str(principal.tenant_id)
    context.trace.user_id = str(principal.user_id) if principal.user_id else None
    allowance = await limits.consume(principal)
    context.answer_headers.extend(_limit_headers(allowance))
    if not allowance.allowed:
        raise RateLimited(
            limit=allowance.limit,
            remaining=allowance.remaining,
            retry_after_seconds=allowance.retry_after_seconds,
        )


def _refuse_nul(query: bytes) -> None:
    """PostgreSQL cannot hold NUL, and nothing is called so."""
    if b"%00" in query or b"\0" in query:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        raise InvalidInput({name: "must not contain NUL characters" for name, value in pairs if "\0" in name + value})


def _limit_headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit", b"%d" % allowance.limit),
        (b"x-ratelimit-remaining", b"%d" % allowance.remaining),
        (b"x-ratelimit-reset", b"%d" % allowance.reset_at),
    ]


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None


def check_authority(routes: set[tuple[str, str]]) -> None:
    """Raise at start when a route has no entry in the authority table, or an entry no route."""
    missing, stale = routes - ROUTES.keys(), ROUTES.keys() - routes
    if missing or stale:
        raise RuntimeError(f"authority table: routes without an entry {missing}, entries without a route {stale}")
