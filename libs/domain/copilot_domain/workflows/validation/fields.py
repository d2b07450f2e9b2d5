"""Checks of single values, put together into those of a definition. Each tells all that is wrong inside."""

from collections.abc import Callable, Mapping
from uuid import UUID

from copilot_common.base.errors import InvalidInput
from copilot_common.platform.json_schema import JsonSchema
from copilot_domain.workflows.validation.faults import Faults, inside

Check = Callable[[object, str, Faults], None]
"""Value, its path, where faults go."""

_SHOWN_CHARACTERS = 100


def text(minimum: int = 1, maximum: int = 1_000_000) -> Check:
    def check(value: object, path: str, faults: Faults) -> None:
        if not isinstance(value, str):
            faults.add(path, "must be a text")
        elif not minimum <= len(value) <= maximum:
            faults.add(path, "must not be empty" if not value else f"must be at most {maximum} characters")

    return check


def whole(minimum: int, maximum: int) -> Check:
    def check(value: object, path: str, faults: Faults) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            faults.add(path, "must be a whole number")
        elif not minimum <= value <= maximum:
            faults.add(path, f"must be from {minimum} to {maximum}")

    return check


def number(minimum: float, maximum: float) -> Check:
    def check(value: object, path: str, faults: Faults) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            faults.add(path, "must be a number")
        elif not minimum <= value <= maximum:
            faults.add(path, f"must be from {minimum:g} to {maximum:g}")

    return check


def one_of(*choices: str) -> Check:
    def check(value: object, path: str, faults: Faults) -> None:
        if not isinstance(value, str) or value not in choices:
            faults.add(path, f"must be one of {', '.join(choices)}")

    return check


def uuid(value: object, path: str, faults: Faults) -> None:
    if not is_uuid(value):
        faults.add(path, "must be a UUID")


def is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


def anything(value: object, path: str, faults: Faults) -> None:
    """Whatever JSON can hold."""


def mapping(value: object, path: str, faults: Faults) -> None:
    if not isinstance(value, dict):
        faults.add(path, "must be an object")


def json_schema(value: object, path: str, faults: Faults) -> None:
    try:
        JsonSchema(value)
    except InvalidInput as error:
        faults.extend(error.fields.items(), path)


def listed(item: Check, minimum: int = 0, maximum: int = 1_000_000) -> Check:
    def check(value: object, path: str, faults: Faults) -> None:
        if not isinstance(value, list):
            faults.add(path, "must be a list")
            return
        if not minimum <= len(value) <= maximum:
            faults.add(path, "must not be empty" if not value else f"must have at most {maximum} entries")
        for index, each in enumerate(value[:maximum]):
            item(each, f"{path}[{index}]", faults)

    return check


def named(item: Check, minimum: int, maximum: int) -> Check:
    """An object with names of the caller's choice."""

    def check(value: object, path: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            faults.add(path, "must be an object")
            return
        if not minimum <= len(value) <= maximum:
            faults.add(path, f"must have from {minimum} to {maximum} names")
        for name, each in list(value.items())[:maximum]:
            item(each, field_path(path, name), faults)

    return check


def shape(fields: Mapping[str, Check], *, required: tuple[str, ...] = (), nullable: tuple[str, ...] = ()) -> Check:
    """An object with these fields and no others."""

    def check(value: object, path: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            faults.add(path, "must be an object")
            return
        for name in [name for name in value if name not in fields]:
            faults.add(field_path(path, name), "is not a field of this object")
        for name in required:
            if name not in value:
                faults.add(field_path(path, name), "is required")
        for name, field in fields.items():
            if name in value and not (value[name] is None and name in nullable):
                field(value[name], field_path(path, name), faults)

    return check


def field_path(path: str, name: str) -> str:
    return inside(path, name[:_SHOWN_CHARACTERS] if not name.startswith("[") else f"“{name[:_SHOWN_CHARACTERS]}”")


def one_given(value: dict[str, object], path: str, faults: Faults, *names: str) -> None:
    """Exactly one of the fields must be there; null is not."""
    given = [name for name in names if value.get(name) is not None]
    if len(given) != 1:
        several = f"; here are {' and '.join(given)}" if given else ""
        faults.add(path, f"must have exactly one of {', '.join(names)}{several}")
