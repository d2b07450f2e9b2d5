"""Bodies of /workflows. A definition is read by the domain, which tells all that is wrong with it: here stands only
what OpenAPI shows of it, and which media types it comes in."""

from dataclasses import dataclass

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from copilot_domain.workflows.parsing import Syntax
from copilot_domain.workflows.validation import Fault

SYNTAXES: dict[str, Syntax] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
}


class DefinitionFault(msgspec.Struct, frozen=True):
    path: str
    message: str


class Validation(msgspec.Struct, frozen=True):
    """`errors` are all there are, at most 100."""

    valid: bool
    errors: list[DefinitionFault]

    @classmethod
    def of(cls, faults: list[Fault]) -> "Validation":
        return cls(not faults, [DefinitionFault(fault.path, fault.message) for fault in faults])


_TEXT = Schema(type=OpenAPIType.STRING)
_NUMBER = Schema(type=OpenAPIType.INTEGER)
_OBJECT = Schema(type=OpenAPIType.OBJECT)

_DEFINITION = Schema(
    type=OpenAPIType.OBJECT,
    description="A definition, as docs/workflows.md describes it.",
    required=["name", "steps", "entry_point"],
    properties={
        "name": _TEXT,
        "description": _TEXT,
        "version": _NUMBER,
        "steps": Schema(type=OpenAPIType.ARRAY, items=_OBJECT),
        "entry_point": _TEXT,
        "inputs_schema": _OBJECT,
        "concurrency": _OBJECT,
        "priority": _NUMBER,
        "max_duration_ms": _NUMBER,
        "metadata": _OBJECT,
    },
)


@dataclass
class TakesDefinition(Operation):
    """A handler that reads its body itself says so to OpenAPI by `operation_class`."""

    def __post_init__(self) -> None:
        content = {
            media_type: OpenAPIMediaType(schema=_DEFINITION) for media_type in ("application/json", "application/yaml")
        }
        self.request_body = RequestBody(content=content, required=True)
