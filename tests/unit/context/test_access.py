"""Access lists as columns and back; whom they mean."""

from uuid import UUID, uuid4

import pytest

from copilot_common.base.ids import TenantId, UserId
from copilot_common.tenancy import Principal, Role
from copilot_domain.context.access import decode_acl, encode_acl, identities
from copilot_domain.context.types import AclEntry

USER = UserId(UUID(int=7))


def test_an_access_list_comes_back_as_it_was() -> None:
    entries = [AclEntry(role="admin"), AclEntry(user_id=USER)]
    assert decode_acl(encode_acl([*entries, *entries])) == entries


@pytest.mark.parametrize(
    ("role", "included"),
    [("viewer", 1), ("member", 2), ("admin", 3), ("owner", 4)],
)
def test_a_role_is_every_role_below_it_too(role: Role, included: int) -> None:
    principal = Principal(kind="user", tenant_id=TenantId(uuid4()), credential_id=USER, user_id=USER, role=role)
    expected = [f"role:{name}" for name in ("viewer", "member", "admin", "owner")][:included]
    assert identities(principal) == [f"user:{USER}", *expected]


def test_a_principal_without_a_role_is_a_user_only() -> None:
    assert identities(Principal.system(TenantId(uuid4()), USER)) == [f"user:{USER}"]
