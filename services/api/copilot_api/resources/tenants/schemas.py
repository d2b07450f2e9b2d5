"""Bodies of /tenants. What a field must look like, the domain says."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from copilot_api.http.body import RequestBody
from copilot_common.base.errors import InvalidInput
from copilot_common.tenancy import Role
from copilot_domain.tenants import TenantStatus

Short = Annotated[str, Meta(max_length=300)]


class CreateTenant(RequestBody):
    """With `owner_email` the answer carries a token with which its first owner registers."""

    name: Short
    slug: Short
    owner_email: Short | None = None


class UpdateTenant(RequestBody):
    name: Short | UnsetType = UNSET
    status: TenantStatus | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.name is UNSET and self.status is UNSET:
            raise InvalidInput({"body": "must name something to change"})


class UpdateCurrentTenant(RequestBody):
    name: Short


class UpdateMember(RequestBody):
    role: Role


class CreateInvite(RequestBody):
    email: Short
    role: Role
