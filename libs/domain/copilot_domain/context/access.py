"""Who may see an item: its creator, and whom its access list names; everybody of the tenant where the list is empty."""

from collections.abc import Iterable
from typing import cast
from uuid import UUID

from copilot_common.tenancy import Principal, Role
from copilot_domain.context.types import AclEntry

_ROLES: tuple[Role, ...] = ("viewer", "member", "admin", "owner")  # each includes those before it


def encode_acl(entries: Iterable[AclEntry]) -> list[str]:
    """As the column keeps it, each entry once."""
    return sorted({f"role:{entry.role}" if entry.role else f"user:{entry.user_id}" for entry in entries})


def decode_acl(column: Iterable[str]) -> list[AclEntry]:
    return [
        AclEntry(role=cast(Role, name)) if kind == "role" else AclEntry(user_id=UUID(name))
        for kind, _, name in (entry.partition(":") for entry in column)
    ]


def identities(principal: Principal) -> list[str]:
    """What of an access list means this principal."""
    own = [f"user:{principal.acting_user}"]
    if principal.role is not None:
        own += [f"role:{role}" for role in _ROLES[: _ROLES.index(principal.role) + 1]]
    return own
