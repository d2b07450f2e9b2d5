"""Bodies of /tenants. What a field must look like, the domain says."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from copilot_api.http.body import RequestBody
from copilot_common.base.errors import InvalidInput
from copilot_common.tenancy import Role
from copilot_domain.tenants import ContextQuotaChanges, TenantStatus

Short = Annotated[str, Meta(max_length=300)]
Quota = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # a number that JSON carries exactly


class CreateTenant(RequestBody):
    """With `owner_email` the answer carries a token with which its first owner registers."""

    name: Short
    slug: Short
    owner_email: Short | None = None


class ContextQuotaBody(RequestBody):
    """What is absent stays; null for what the settings say."""

    max_items: Quota | UnsetType | None = UNSET
    max_bytes: Quota | UnsetType | None = UNSET
    max_chunks: Quota | UnsetType | None = UNSET

    def to_changes(self) -> ContextQuotaChanges:
        return ContextQuotaChanges(max_items=self.max_items, max_bytes=self.max_bytes, max_chunks=self.max_chunks)


class UpdateTenant(RequestBody):
    name: Short | UnsetType = UNSET
    status: TenantStatus | UnsetType = UNSET
    context_quota: ContextQuotaBody | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.name is UNSET and self.status is UNSET and self.context_quota is UNSET:
            raise InvalidInput({"body": "must name something to change"})


class UpdateCurrentTenant(RequestBody):
    name: Short


class UpdateMember(RequestBody):
    role: Role


class CreateInvite(RequestBody):
    email: Short
    role: Role
