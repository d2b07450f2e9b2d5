"""What route handlers take besides their body, each by one name."""

from typing import TypeAlias
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from copilot_api.services import Services
from copilot_common.tenancy import Principal
from copilot_domain.pagination import PageRequest, page_request

ActingPrincipal: TypeAlias = NamedDependency[Principal]
"""Who asks; only on routes that are not public."""

AppServices: TypeAlias = NamedDependency[Services]

PathId: TypeAlias = FromPath[UUID]
QueryText: TypeAlias = FromQuery[str | None]

WantedPage: TypeAlias = NamedDependency[PageRequest]
"""`limit`, `offset` and `cursor` of a list, checked; the parameter must be called `wanted`."""


def wanted_page(
    limit: FromQuery[int | None] = None, offset: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> PageRequest:
    return page_request(limit, offset, cursor)
