"""What route handlers take besides their body, each by one name."""

from typing import TypeAlias
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from copilot_api.services import Services
from copilot_common.tenancy import Principal

ActingPrincipal: TypeAlias = NamedDependency[Principal]
"""Who asks; only on routes that are not public."""

AppServices: TypeAlias = NamedDependency[Services]

PathId: TypeAlias = FromPath[UUID]
QueryInt: TypeAlias = FromQuery[int | None]
QueryText: TypeAlias = FromQuery[str | None]
