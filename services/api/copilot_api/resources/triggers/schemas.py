"""Bodies of triggers. What a call brings is decoded by hand, once its signature has been found good."""

from dataclasses import dataclass
from typing import Annotated

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Schema
from litestar.openapi.spec import RequestBody as Body
from msgspec import Meta

from copilot_api.http.body import RequestBody

Name = Annotated[str, Meta(min_length=1, max_length=300)]


class CreateTrigger(RequestBody):
    name: Name


@dataclass
class TakesInputs(Operation):
    """A handler that reads its body itself says so to OpenAPI by `operation_class`."""

    def __post_init__(self) -> None:
        inputs = Schema(type=OpenAPIType.OBJECT, description="The run's inputs, signed as Standard Webhooks says.")
        self.request_body = Body(content={"application/json": OpenAPIMediaType(schema=inputs)}, required=True)
