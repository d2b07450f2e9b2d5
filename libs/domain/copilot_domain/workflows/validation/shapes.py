"""What a definition is made of: names, types, bounds, and what must or must not go together in one step."""

import re
from typing import Final

from copilot_common.base.errors import InvalidInput
from copilot_domain.metadata import check_metadata
from copilot_domain.workflows.definition import STEP_TYPES
from copilot_domain.workflows.validation.configs import CONFIG_CHECKS
from copilot_domain.workflows.validation.faults import Faults
from copilot_domain.workflows.validation.fields import (
    Check,
    field_path,
    json_schema,
    listed,
    mapping,
    one_of,
    shape,
    text,
    whole,
)

STEP_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_STEPS: Final = 200
MAX_MS: Final = 2_592_000_000  # 30 days
_MAX_BACKOFF_MS: Final = 86_400_000  # a day
_CALLING = {"llm", "tool", "transform", "workflow"}


def step_id(value: object, path: str, faults: Faults) -> None:
    if not isinstance(value, str):
        faults.add(path, "must be the id of a step, a text")
    elif not STEP_ID.fullmatch(value):
        faults.add(path, "must be up to 64 letters, digits and _, and not begin with a digit")


def check_shapes(definition: object, faults: Faults) -> None:
    _DEFINITION(definition, "", faults)


def _on_error(value: object, path: str, faults: Faults) -> None:
    if isinstance(value, dict):
        _GO_TO(value, path, faults)
    elif value not in ("fail", "continue"):
        faults.add(path, "must be fail, continue or {next: the id of a step}")


def _next_steps(value: object, path: str, faults: Faults) -> None:
    listed(step_id)(value, path, faults)
    if isinstance(value, list) and len(value) > 1:
        faults.add(path, "must have at most one entry; for several at once use `parallel`")


def _step(value: object, path: str, faults: Faults) -> None:
    _STEP(value, path, faults)
    if not isinstance(value, dict):
        return
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in CONFIG_CHECKS:
        return
    if "config" in value:
        CONFIG_CHECKS[kind](value["config"], field_path(path, "config"), faults)
    if value.get("retry") is not None and kind not in _CALLING:
        faults.add(field_path(path, "retry"), "applies to steps that call something")


def _metadata(value: object, path: str, faults: Faults) -> None:
    mapping(value, path, faults)
    if isinstance(value, dict):
        try:
            check_metadata(value, field=path)
        except InvalidInput as error:
            faults.extend(error.fields.items(), "")


_GO_TO: Check = shape({"next": step_id}, required=("next",))

_RETRY: Check = shape(
    {
        "max_attempts": whole(1, 20),
        "backoff_ms": whole(1, _MAX_BACKOFF_MS),
        "max_backoff_ms": whole(1, _MAX_BACKOFF_MS),
    }
)

_STEP: Check = shape(
    {
        "id": step_id,
        "name": text(maximum=200),
        "type": one_of(*STEP_TYPES),
        "config": mapping,
        "next_steps": _next_steps,
        "on_error": _on_error,
        "retry": _RETRY,
        "timeout_ms": whole(1, MAX_MS),
    },
    required=("id", "name", "type", "config"),
    nullable=("retry", "timeout_ms"),
)

_CONCURRENCY: Check = shape(
    {
        "limit": whole(1, 1_000),
        "on_limit": one_of("queue", "cancel_oldest", "reject"),
        "key": text(maximum=10_000),
    },
    required=("limit",),
    nullable=("key",),
)

_DEFINITION: Check = shape(
    {
        "name": text(maximum=200),
        "description": text(minimum=0, maximum=10_000),
        "version": whole(1, 2**31 - 1),
        "steps": listed(_step, 1, MAX_STEPS),
        "entry_point": step_id,
        "inputs_schema": json_schema,
        "concurrency": _CONCURRENCY,
        "priority": whole(1, 5),
        "max_duration_ms": whole(1, MAX_MS),
        "metadata": _metadata,
    },
    required=("name", "steps", "entry_point"),
    nullable=("description", "version", "inputs_schema", "concurrency", "max_duration_ms"),
)
