"""Who may become whom."""

from uuid import UUID

import pytest

from copilot_common.auth.authority import ALL_SCOPES, ROLE_SCOPES, ROUTES, Access, require
from copilot_common.base.errors import Forbidden
from copilot_common.base.ids import TenantId, UserId
from copilot_common.tenancy import Principal

TENANT = TenantId(UUID(int=1))


def user(role: str) -> Principal:
    return Principal("user", TENANT, UUID(int=2), UserId(UUID(int=2)), role, ROLE_SCOPES[role])  # type: ignore[arg-type, index]


def test_only_a_platform_principal_enters_another_tenant() -> None:
    assert Principal.platform(UUID(int=3)).inside(TENANT).tenant_id == TENANT
    for other in (user("owner"), Principal.system(TENANT, UserId(UUID(int=2)))):
        with pytest.raises(PermissionError):
            other.inside(TENANT)


def test_a_platform_principal_has_no_user() -> None:
    with pytest.raises(PermissionError):
        _ = Principal.platform(UUID(int=3)).acting_user


def test_no_role_has_the_platforms_scope() -> None:
    assert "platform" not in ALL_SCOPES
    assert all(scopes <= ALL_SCOPES for scopes in ROLE_SCOPES.values())


def test_what_only_owners_may_admins_may_not() -> None:
    access = Access("admin", owner_only=True)
    require(user("owner"), access)
    with pytest.raises(Forbidden):
        require(user("admin"), access)


def test_a_platform_key_does_not_pass_where_any_credential_does() -> None:
    require(user("viewer"), Access())
    with pytest.raises(Forbidden):
        require(Principal.platform(UUID(int=3)), Access())


def test_only_a_few_routes_are_public() -> None:
    public = {path for (_, path), access in ROUTES.items() if access.public}
    assert public == {
        "/health", "/health/live", "/health/ready", "/metrics",
        "/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/register",
        "/api/v1/triggers/{trigger_id}",  # who calls it signs
    }  # fmt: skip
