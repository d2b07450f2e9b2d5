"""What one request carries besides its body, kept in the ASGI scope."""

from dataclasses import dataclass, field
from typing import Any, cast

from copilot_common.platform.trace import Trace
from copilot_common.tenancy import Principal

Scope = Any  # litestar and granian each have their own notion of an ASGI scope

_KEY = "copilot.request"


@dataclass(slots=True)
class RequestContext:
    """`answer_headers` are added to whatever answer goes out, errors included."""

    request_id: str
    trace: Trace
    address: str | None
    answer_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    principal: Principal | None = None


def attach_context(scope: Scope, context: RequestContext) -> None:
    scope[_KEY] = context


def request_context(scope: Scope) -> RequestContext:
    return cast(RequestContext, scope[_KEY])
