"""JSON Schemas that tenants write, and values checked against them.

Threat model: a schema that makes the process fetch something, or one that takes hours: references that double at
each level, patterns that backtrack, more faults than anybody reads. So nothing is fetched, a reference leads to a part
of the schema itself, patterns match in linear time, and what a schema costs is bounded before it is used.
"""

from collections.abc import Iterator
from functools import cached_property
from urllib.parse import unquote

from jsonschema_rs import ReferencingError, RegexOptions, ValidationError, Validator, validator_for

from copilot_common.base.errors import InvalidInput

MAX_FAULTS = 20

_MAX_LEVELS = 64
_MAX_PARTS = 10_000  # with every reference unfolded
_MAX_COST = 100_000_000  # parts of the schema times parts of the value; about a second
_MAX_REFERENCES = 200
_MAX_LISTED = 5_000  # parts of a value of which all faults are listed: the library makes them all before the first
_UNEVALUATED = {"unevaluatedItems", "unevaluatedProperties"}
_UNEVALUATED_FACTOR = 3  # the library looks at what is inside up to so many times
_PATTERN_BYTES = 1_000_000  # compiled
_MESSAGE_CHARACTERS = 200
_NAME_CHARACTERS = 100

Path = tuple[str | int, ...]


class JsonSchema:
    """Of the draft that `$schema` names, else 2020-12.

    Raises InvalidInput; its paths begin at the schema, whose own is empty.
    """

    def __init__(self, schema: object) -> None:
        if not isinstance(schema, dict):
            raise InvalidInput({"": "must be an object"})
        self._parts = _Cost(schema).parts()
        self._validator = _compile(schema)

    def faults(self, value: object) -> list[tuple[str, str]]:
        """Path and sentence of what is wrong with a JSON value, at most MAX_FAULTS; none where it is valid. The path of
        the value itself is empty; no sentence quotes more
        of it than a field's name."""
        size = _size(value, _MAX_COST // self._parts)
        if size is None:
            return [("", "is too large to be checked against its schema")]
        try:
            if self._validator.is_valid(value):
                return []
            return [_fault(error) for error in self._errors(value, size)[:MAX_FAULTS]]
        except (ValueError, RecursionError):  # a lone surrogate; nested too deeply
            return [("", "is not a value that can be checked")]

    def _errors(self, value: object, size: int) -> list[ValidationError]:
        if size <= _MAX_LISTED:
            return list(self._validator.iter_errors(value))
        try:
            self._validator.validate(value)
        except ValidationError as first:
            return [first]
        return []


def path_text(path: Path, base: str = "") -> str:
    """`steps[2].config` of `("steps", 2, "config")`, after `base`."""
    text = base
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part[:_NAME_CHARACTERS]}" if text else part[:_NAME_CHARACTERS]
    return text


def _compile(schema: dict[str, object]) -> Validator:
    try:
        return validator_for(
            schema,
            mask="the value",
            pattern_options=RegexOptions(size_limit=_PATTERN_BYTES),
            offline=True,
            validate_formats=True,
        )
    except ValidationError as error:
        raise InvalidInput({path_text(tuple(error.instance_path)): _refusal(error)}) from None
    except (ValueError, ReferencingError, RecursionError):
        raise InvalidInput({"": "is not a valid JSON Schema"}) from None


def _refusal(error: ValidationError) -> str:
    if error.kind.name == "format" and "regex" in str(error.kind.value):
        return "must be a regular expression without look-around and back-references, and not too large"
    return "is not what JSON Schema allows here"


def _fault(error: ValidationError) -> tuple[str, str]:
    path = tuple(error.instance_path)
    if error.kind.name == "required":
        return path_text((*path, str(error.kind.as_dict()["property"]))), "is required"
    sentence = error.message.removeprefix("the value ")
    return path_text(path), sentence[:_MESSAGE_CHARACTERS]


def _size(value: object, limit: int) -> int | None:
    """How many parts a value has; None beyond `limit`."""
    count, todo = 0, [value]
    while todo:
        part = todo.pop()
        count += 1
        if count + len(todo) > limit:
            return None
        todo.extend(_inner(part))
    return count


def _inner(part: object) -> list[object]:
    if isinstance(part, dict):
        return list(part.values())
    return part if isinstance(part, list) else []


class _Cost:
    """What checking against a schema costs at most, told from the schema alone.

    References may make a circle, so that a schema can describe trees; but one by which the same place of a value is
    looked at twice costs 2^depth, so of each part only one reference may lead back to it.
    """

    def __init__(self, schema: dict[str, object]) -> None:
        self._schema = schema
        self._references: dict[str, list[str]] = {}
        self._unfolded: dict[str, int] = {}
        self._has_unevaluated = False

    def parts(self) -> int:
        """Raises InvalidInput."""
        self._read()
        self._check_circles()
        try:
            parts = self._parts_of("#")
        except RecursionError:
            raise InvalidInput({"": "has references that lead to references too many times"}) from None
        if parts > _MAX_PARTS:
            raise InvalidInput({"": f"has more than {_MAX_PARTS} parts, with its references unfolded"})
        return parts

    def _read(self) -> None:
        faults = dict(self._faults())
        if faults:
            raise InvalidInput(dict(list(faults.items())[:MAX_FAULTS]))
        todo = ["#"]
        while todo:
            pointer = todo.pop()
            if pointer not in self._references:
                self._references[pointer] = references = list(_references(self._target(pointer)))
                todo.extend(references)

    def _faults(self) -> Iterator[tuple[str, str]]:
        count = 0
        for path, part in _walk(self._schema):
            if len(path) > _MAX_LEVELS:
                yield "", f"must not be nested deeper than {_MAX_LEVELS} levels"
                return
            self._has_unevaluated |= not _UNEVALUATED.isdisjoint(part)
            yield from _keyword_faults(path, part)
            if isinstance(reference := part.get("$ref"), str):
                count += 1
                if not reference.startswith("#"):
                    yield (
                        path_text((*path, "$ref")),
                        "must begin with #/: nothing is fetched",
                    )
                elif self._target(reference) is None:
                    yield path_text((*path, "$ref")), "leads nowhere; it must be # or a path like #/$defs/name"
        if count > _MAX_REFERENCES:
            yield "", f"must have at most {_MAX_REFERENCES} references"

    def _target(self, pointer: str) -> object:
        target: object = self._schema
        for name in (unquote(each).replace("~1", "/").replace("~0", "~") for each in pointer[1:].split("/")[1:]):
            if isinstance(target, dict):
                target = target.get(name)
            elif isinstance(target, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(target):
                target = target[int(name[:9])]
            else:
                return None
        return target if pointer == "#" or pointer.startswith("#/") else None

    def _check_circles(self) -> None:
        for pointer, references in self._references.items():
            back = sum(pointer == each or pointer in self._reachable[each] for each in references)
            if back > 1 or (back and self._has_unevaluated):
                raise InvalidInput({"": f"refers to itself more than once ({pointer[:_NAME_CHARACTERS]})"})

    @cached_property
    def _reachable(self) -> dict[str, set[str]]:
        return {pointer: self._reached_from(pointer) for pointer in self._references}

    def _reached_from(self, pointer: str) -> set[str]:
        reached: set[str] = set()
        todo = [pointer]
        while todo:
            new = set(self._references[todo.pop()]) - reached
            reached |= new
            todo.extend(new)
        return reached

    def _parts_of(self, pointer: str) -> int:
        """A reference that leads back to where one came from counts as nothing: it looks at another place."""
        if pointer not in self._unfolded:
            self._unfolded[pointer] = 0
            self._unfolded[pointer] = min(self._unfold(_definition_of(self._target(pointer))), _MAX_PARTS + 1)
        return self._unfolded[pointer]

    def _unfold(self, part: object) -> int:
        count = 1 + sum(self._unfold(inner) for inner in _inner(part))
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                count += self._parts_of(reference)
            if not _UNEVALUATED.isdisjoint(part):
                count *= _UNEVALUATED_FACTOR
        return count


def _keyword_faults(path: Path, part: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name in ("$dynamicRef", "$recursiveRef"):
        if isinstance(part.get(name), str):
            yield path_text((*path, name)), "is not supported; use $ref"
    if path and isinstance(part.get("$id"), str):
        yield path_text((*path, "$id")), "is supported only at the top"


def _walk(schema: dict[str, object]) -> Iterator[tuple[Path, dict[str, object]]]:
    """Every object in it, also those that are values and no schemas: better one too many than one too few."""
    todo: list[tuple[Path, object]] = [((), schema)]
    while todo:
        path, part = todo.pop()
        if isinstance(part, dict):
            yield path, part
            todo.extend(((*path, str(name)), inner) for name, inner in part.items())
        elif isinstance(part, list):
            todo.extend(((*path, index), inner) for index, inner in enumerate(part))


def _references(target: object) -> Iterator[str]:
    definition = _definition_of(target)
    if isinstance(definition, dict):
        for _, part in _walk(definition):
            if isinstance(reference := part.get("$ref"), str):
                yield reference


def _definition_of(target: object) -> object:
    """Without the definitions of others, which count where they are referred to."""
    if isinstance(target, dict):
        return {name: inner for name, inner in target.items() if name not in {"$defs", "definitions"}}
    return target
