"""Bodies of /auth. Lengths here only bound the work; what a name or password must look like, the domain says."""

from typing import Annotated

from msgspec import Meta

from copilot_api.http.body import RequestBody
from copilot_common.tenancy import Scope

Short = Annotated[str, Meta(max_length=300)]
Token = Annotated[str, Meta(max_length=4_096)]


class LogIn(RequestBody):
    """`tenant` is a slug or an id; without it the tenant joined first."""

    username_or_email: Short
    password: Annotated[str, Meta(max_length=1_024)]
    tenant: Short | None = None


class Refresh(RequestBody):
    refresh_token: Token


class LogOut(RequestBody):
    """Without `refresh_token` the session of the access token ends."""

    refresh_token: Token | None = None


class Register(RequestBody):
    username: Short
    email: Short
    password: Annotated[str, Meta(max_length=1_024)]
    invite_token: Token | None = None


class CreateApiKey(RequestBody):
    name: Short
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=20)]
    expires_in_days: int | None = None
