"""Who may see an item: its creator, and whom its access list names; everybody of the tenant where the list is empty.

Where it is in a collection, those of the others whom that one's list names too; it always names its own creator."""

from collections.abc import Iterable
from typing import cast
from uuid import UUID

from copilot_common.base.errors import InvalidInput
from copilot_common.tenancy import Principal, Role
from copilot_domain.context.types import AclEntry

_ROLES: tuple[Role, ...] = ("viewer", "member", "admin", "owner")  # each includes those before it


def check_acl(entries: Iterable[AclEntry]) -> None:
    """Raises InvalidInput for an entry that its shape lets through."""
    for number, entry in enumerate(entries):
        if (entry.user_id is None) == (entry.role is None):
            raise InvalidInput({f"acl[{number}]": "must have either user_id or role"})


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
