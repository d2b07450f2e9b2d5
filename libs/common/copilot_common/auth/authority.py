"""The one authority table: which role has which scopes, and which scope each route asks for.

The API refuses to start when a route is missing here, so nothing is reachable by oversight. Domain services check only
what depends on the row (a conversation's owner); what depends on the principal alone stands here.
"""

from dataclasses import dataclass

from copilot_common.base.errors import Forbidden
from copilot_common.tenancy import Principal, Role, Scope

ALL_SCOPES: frozenset[Scope] = frozenset({"read", "write", "chat", "workflows", "context", "admin"})
"""What a tenant's principal can have. `platform` is apart: only platform keys have it, and nothing else."""

_MEMBER: frozenset[Scope] = frozenset({"read", "write", "chat", "workflows", "context"})

ROLE_SCOPES: dict[Role, frozenset[Scope]] = {
    "viewer": frozenset({"read"}),
    "member": _MEMBER,
    "admin": _MEMBER | {"admin"},
    "owner": _MEMBER | {"admin"},
}


@dataclass(frozen=True)
class Access:
    """Without `scope` any valid credential will do; `public` needs none; `owner_only` asks for the tenant's owner."""

    scope: Scope | None = None
    public: bool = False
    owner_only: bool = False


_PUBLIC = Access(public=True)
_ANYONE = Access()
_READ = Access("read")
_WRITE = Access("write")
_CHAT = Access("chat")
_CONTEXT = Access("context")
_WORKFLOWS = Access("workflows")
_ADMIN = Access("admin")
_OWNER = Access("admin", owner_only=True)
_PLATFORM = Access("platform")

_V1 = "/api/v1"

ROUTES: dict[tuple[str, str], Access] = {
    ("GET", "/health"): _PUBLIC,
    ("GET", "/health/live"): _PUBLIC,
    ("GET", "/health/ready"): _PUBLIC,
    ("GET", "/metrics"): _PUBLIC,
    ("POST", f"{_V1}/auth/login"): _PUBLIC,
    ("POST", f"{_V1}/auth/refresh"): _PUBLIC,
    ("POST", f"{_V1}/auth/register"): _PUBLIC,
    ("POST", f"{_V1}/auth/logout"): _ANYONE,
    ("GET", f"{_V1}/auth/me"): _ANYONE,
    ("POST", f"{_V1}/auth/api-keys"): _WRITE,
    ("GET", f"{_V1}/auth/api-keys"): _READ,
    ("DELETE", f"{_V1}/auth/api-keys/{{key_id}}"): _WRITE,
    ("POST", f"{_V1}/tenants"): _PLATFORM,
    ("GET", f"{_V1}/tenants"): _PLATFORM,
    ("GET", f"{_V1}/tenants/{{tenant_id}}"): _PLATFORM,
    ("PATCH", f"{_V1}/tenants/{{tenant_id}}"): _PLATFORM,
    ("DELETE", f"{_V1}/tenants/{{tenant_id}}"): _PLATFORM,
    ("GET", f"{_V1}/tenants/current"): _ADMIN,
    ("PATCH", f"{_V1}/tenants/current"): _OWNER,
    ("GET", f"{_V1}/tenants/current/members"): _ADMIN,
    ("PATCH", f"{_V1}/tenants/current/members/{{user_id}}"): _ADMIN,
    ("DELETE", f"{_V1}/tenants/current/members/{{user_id}}"): _ADMIN,
    ("POST", f"{_V1}/tenants/current/invites"): _ADMIN,
    ("GET", f"{_V1}/tenants/current/invites"): _ADMIN,
    ("DELETE", f"{_V1}/tenants/current/invites/{{invite_id}}"): _ADMIN,
    ("POST", f"{_V1}/webhooks"): _ADMIN,
    ("GET", f"{_V1}/webhooks"): _ADMIN,
    ("GET", f"{_V1}/webhooks/{{webhook_id}}"): _ADMIN,
    ("PATCH", f"{_V1}/webhooks/{{webhook_id}}"): _ADMIN,
    ("DELETE", f"{_V1}/webhooks/{{webhook_id}}"): _ADMIN,
    ("GET", f"{_V1}/webhooks/{{webhook_id}}/deliveries"): _ADMIN,
    ("POST", f"{_V1}/webhooks/{{webhook_id}}/deliveries/{{delivery_id}}/redeliver"): _ADMIN,
    ("POST", f"{_V1}/mcp-servers"): _ADMIN,
    ("GET", f"{_V1}/mcp-servers"): _ADMIN,
    ("DELETE", f"{_V1}/mcp-servers/{{server_id}}"): _ADMIN,
    ("GET", f"{_V1}/usage"): _READ,
    ("GET", f"{_V1}/audit"): _ADMIN,
    ("GET", f"{_V1}/models"): _READ,
    ("POST", f"{_V1}/context/search"): _READ,
    ("GET", f"{_V1}/jobs"): _ADMIN,
    ("GET", f"{_V1}/jobs/{{job_id}}"): _ADMIN,
    ("POST", f"{_V1}/jobs/{{job_id}}/redrive"): _ADMIN,
    ("POST", f"{_V1}/conversations"): _CHAT,
    ("GET", f"{_V1}/conversations"): _READ,
    ("GET", f"{_V1}/conversations/{{conversation_id}}"): _READ,
    ("PATCH", f"{_V1}/conversations/{{conversation_id}}"): _WRITE,
    ("DELETE", f"{_V1}/conversations/{{conversation_id}}"): _WRITE,
    ("POST", f"{_V1}/conversations/{{conversation_id}}/messages"): _CHAT,
    ("POST", f"{_V1}/conversations/{{conversation_id}}/messages/stream"): _CHAT,
    ("GET", f"{_V1}/conversations/{{conversation_id}}/messages"): _READ,
    ("GET", f"{_V1}/conversations/{{conversation_id}}/messages/{{message_id}}"): _READ,
    ("GET", f"{_V1}/conversations/{{conversation_id}}/messages/{{message_id}}/stream"): _READ,
    ("POST", f"{_V1}/conversations/{{conversation_id}}/messages/{{message_id}}/cancel"): _CHAT,
    ("PUT", f"{_V1}/conversations/{{conversation_id}}/messages/{{message_id}}/feedback"): _CHAT,
    ("POST", f"{_V1}/context"): _CONTEXT,
    ("POST", f"{_V1}/context/files"): _CONTEXT,
    ("GET", f"{_V1}/context"): _READ,
    ("GET", f"{_V1}/context/index"): _READ,
    ("GET", f"{_V1}/context/usage"): _READ,
    ("POST", f"{_V1}/context/reembed"): _ADMIN,
    ("POST", f"{_V1}/context/collections"): _CONTEXT,
    ("GET", f"{_V1}/context/collections"): _READ,
    ("GET", f"{_V1}/context/collections/{{collection_id}}"): _READ,
    ("PATCH", f"{_V1}/context/collections/{{collection_id}}"): _CONTEXT,
    ("DELETE", f"{_V1}/context/collections/{{collection_id}}"): _CONTEXT,
    ("GET", f"{_V1}/context/{{item_id}}"): _READ,
    ("GET", f"{_V1}/context/{{item_id}}/content"): _READ,
    ("GET", f"{_V1}/context/{{item_id}}/events"): _READ,
    ("PATCH", f"{_V1}/context/{{item_id}}"): _CONTEXT,
    ("DELETE", f"{_V1}/context/{{item_id}}"): _CONTEXT,
    ("POST", f"{_V1}/context/{{item_id}}/reindex"): _CONTEXT,
    ("POST", f"{_V1}/workflows"): _WORKFLOWS,
    ("GET", f"{_V1}/workflows"): _READ,
    ("POST", f"{_V1}/workflows/validate"): _WORKFLOWS,
    ("GET", f"{_V1}/workflows/{{workflow_id}}"): _READ,
    ("PUT", f"{_V1}/workflows/{{workflow_id}}"): _WORKFLOWS,
    ("DELETE", f"{_V1}/workflows/{{workflow_id}}"): _WORKFLOWS,
    ("GET", f"{_V1}/workflows/{{workflow_id}}/versions"): _READ,
    ("GET", f"{_V1}/workflows/{{workflow_id}}/graph"): _READ,
    ("POST", f"{_V1}/workflows/{{workflow_id}}/schedules"): _WORKFLOWS,
    ("GET", f"{_V1}/workflows/{{workflow_id}}/schedules"): _READ,
    ("DELETE", f"{_V1}/workflows/{{workflow_id}}/schedules/{{schedule_id}}"): _WORKFLOWS,
    ("POST", f"{_V1}/workflows/{{workflow_id}}/triggers"): _WORKFLOWS,
    ("GET", f"{_V1}/workflows/{{workflow_id}}/triggers"): _READ,
    ("DELETE", f"{_V1}/workflows/{{workflow_id}}/triggers/{{trigger_id}}"): _WORKFLOWS,
    # Whoever calls it is known by a signature.
    ("POST", f"{_V1}/triggers/{{trigger_id}}"): _PUBLIC,
    ("POST", f"{_V1}/workflows/runs"): _WORKFLOWS,
    ("GET", f"{_V1}/workflows/runs"): _READ,
    ("GET", f"{_V1}/workflows/runs/{{run_id}}"): _READ,
    ("GET", f"{_V1}/workflows/runs/{{run_id}}/steps"): _READ,
    ("GET", f"{_V1}/workflows/runs/{{run_id}}/events"): _READ,
    ("GET", f"{_V1}/workflows/runs/{{run_id}}/reviews"): _READ,
    ("POST", f"{_V1}/workflows/runs/{{run_id}}/cancel"): _WORKFLOWS,
    ("POST", f"{_V1}/workflows/runs/{{run_id}}/retry"): _WORKFLOWS,
    ("POST", f"{_V1}/workflows/runs/{{run_id}}/fork"): _WORKFLOWS,
    ("POST", f"{_V1}/workflows/runs/{{run_id}}/reviews/{{review_id}}"): _WORKFLOWS,
}


def require(principal: Principal, access: Access) -> None:
    """Raise Forbidden unless the principal may. Platform keys get nothing but what asks for `platform`."""
    if access.scope is None and not principal.is_platform:
        return
    if access.scope not in principal.scopes:
        needed = access.scope or "a tenant's"
        raise Forbidden(f"This needs the scope {needed}.", details={"scope": needed})
    if access.owner_only and principal.role != "owner":
        raise Forbidden("This needs the role owner.", details={"role": "owner"})
