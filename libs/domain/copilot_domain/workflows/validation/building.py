"""From the JSON of a valid definition to its types, and back."""

from functools import lru_cache
from typing import TypeVar, cast

import msgspec

from copilot_domain.workflows.definition import CONFIGS, Definition, Step, StepType

Made = TypeVar("Made", bound=msgspec.Struct)

Object = dict[str, object]


def build(definition: Object) -> Definition:
    """`version` is not part of it. Raises msgspec.ValidationError or KeyError for one that was not checked."""
    steps = [_step(step) for step in cast(list[Object], definition["steps"])]
    return _made(Definition, definition, steps=steps)


def encode(definition: Definition) -> bytes:
    """What `decode` takes."""
    return msgspec.json.encode(definition)


def decode(encoded: bytes) -> Definition:
    return build(msgspec.json.decode(encoded, type=Object))


def _step(step: Object) -> Step:
    kind = cast(StepType, step["type"])
    return _made(Step, step, config=msgspec.convert(step["config"], CONFIGS[kind]))


_fields = lru_cache(msgspec.structs.fields)  # the few types above; they are read anew for every definition


def _made(kind: type[Made], given: Object, **ready: object) -> Made:
    """Field by field: msgspec would not take a config whose type another field tells."""
    values = {
        field.name: msgspec.convert(given[field.name], field.type)
        for field in _fields(kind)
        if field.name not in ready and given.get(field.name) is not None
    }
    return kind(**values, **ready)
