"""Strict JSON bodies: unknown fields, wrong types, NUL characters and non-JSON are refused, each named by its path."""

import json
import math
from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

import msgspec
from litestar._openapi.schema_generation import SchemaCreator
from litestar.dto import MsgspecDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from copilot_api.http.lingering import has_body
from copilot_common.base.errors import CopilotError, InvalidInput

T = TypeVar("T", bound=msgspec.Struct)

JSON_ONLY = frozenset({"application/json"})
"""What a body may be, where the handler's `media_types` do not say more."""

_LONGEST_INTEGER = 4_000  # digits: Python itself refuses more than 4 300, which nobody means


class RequestBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of every request body."""


class StrictBody(MsgspecDTO[T], Generic[T]):
    """`@post(dto=StrictBody[CreateConversation], return_dto=None)`: `data` is decoded by this module alone.

    Litestar's own decoding takes "5" for a number and stops at the shape; the wire contract asks for more.
    """

    def decode_bytes(self, value: bytes) -> T:
        return decode_strict(value, self.model_type)

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: SchemaCreator
    ) -> Reference | Schema:
        return schema_creator.for_field_definition(field_definition)


def decode_strict(raw: bytes, model: type[T]) -> T:
    """Raises InvalidInput naming every wrong top-level field, or BAD_REQUEST where it is no JSON at all."""
    try:
        decoded = msgspec.json.decode(raw, type=model)
    except msgspec.ValidationError:
        raise InvalidInput(_faults(raw, model)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _undecodable(raw) from None
    if b"\\u0000" in raw:
        try:
            _refuse_nul(msgspec.json.decode(raw))
        except RecursionError:
            raise _not_json() from None
    return decoded


def decode_object(raw: bytes) -> dict[str, object]:
    """Any JSON object, where its fields are the caller's own business. Raises as `decode_strict`."""
    if not raw:
        raise InvalidInput({"body": "is required"})
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _undecodable(raw) from None
    if not isinstance(decoded, dict):
        raise InvalidInput({"body": "must be an object"})
    if b"\\u0000" in raw:
        try:
            _refuse_nul(decoded)
        except RecursionError:
            raise _not_json() from None
    return decoded


def check_media_type(headers: dict[bytes, bytes], accepted: Collection[str]) -> None:
    """Raises UNSUPPORTED_MEDIA_TYPE for a body that says it is something else; one that says nothing may be any."""
    media_type = media_type_of(headers)
    if media_type and media_type not in accepted and has_body(headers):
        error = CopilotError(f"The body must be {' or '.join(sorted(accepted))}.")
        error.code = "UNSUPPORTED_MEDIA_TYPE"
        raise error


def media_type_of(headers: dict[bytes, bytes]) -> str:
    """What the body says it is, without parameters; empty where it says nothing."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")


def _undecodable(raw: bytes) -> CopilotError:
    """What msgspec cannot decode may still be JSON: with a number beyond what 64 bits hold, which has a place."""
    try:
        body = json.loads(raw, parse_int=_parse_integer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return _not_json()
    faults = dict.fromkeys(_paths_with(_is_out_of_range, body, ""), "is a number out of range")
    return InvalidInput(faults) if faults else _not_json()


def _parse_integer(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_INTEGER else math.inf


def _refuse_constant(name: str) -> None:
    """Python's json knows NaN and Infinity, JSON does not."""
    raise ValueError(name)


def _is_out_of_range(value: object) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _not_json() -> CopilotError:
    error = CopilotError("The body is not valid JSON in UTF-8, or nested too deeply.")
    error.code = "BAD_REQUEST"
    return error


def _refuse_nul(value: object) -> None:
    faults = dict.fromkeys(_paths_with(_has_nul, value, ""), "must not contain NUL characters")
    if faults:
        raise InvalidInput(faults)


def _has_nul(value: object) -> bool:
    return isinstance(value, str) and "\0" in value


def _paths_with(is_wrong: Callable[[object], bool], value: object, path: str) -> Iterator[str]:
    match value:
        case dict():
            for key, item in value.items():
                if is_wrong(key):
                    yield path or "body"
                yield from _paths_with(is_wrong, item, f"{path}.{key}" if path else str(key))
        case list():
            for index, item in enumerate(value):
                yield from _paths_with(is_wrong, item, f"{path}[{index}]")
        case _ if is_wrong(value):
            yield path or "body"
        case _:
            pass


def _faults(raw: bytes, model: type[msgspec.Struct]) -> dict[str, str]:
    """msgspec stops at the first fault; here each field is tried on its own. Only reached for bad requests."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _undecodable(raw) from None
    if not isinstance(body, dict):
        return {"body": "must be an object"}
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    faults = {str(name): "is not a field of this request" for name in body.keys() - fields.keys()}
    for name, field in fields.items():
        if name not in body:
            if field.required:
                faults[name] = "is required"
            continue
        try:
            msgspec.convert(body[name], field.type)
        except msgspec.ValidationError as error:
            path, message = _path_and_message(str(error))
            faults[name + path] = message
    return faults or {"body": "is not valid"}


def _path_and_message(text: str) -> tuple[str, str]:
    """`Expected `str`, got `int` - at `$[0].name`` → `[0].name` and the sentence. msgspec's texts quote no values but
    those of enums, which are cut."""
    message, _, path = text.partition(" - at `$")
    path = path.rstrip("`")
    if message.startswith("Invalid enum value"):
        message = "is not one of the allowed values"
    if message.startswith("Object contains unknown field `"):
        unknown = message.removeprefix("Object contains unknown field `").rstrip("`")
        return f"{path}.{unknown}", "is not a field of this request"
    if message.startswith("Object missing required field `"):
        missing = message.removeprefix("Object missing required field `").rstrip("`")
        return f"{path}.{missing}", "is required"
    return path, message.replace("`", "").replace("Expected", "expected", 1)
