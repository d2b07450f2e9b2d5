"""Workflows by their name, definitions and inputs in files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from copilot_cli.client import ApiClient
from copilot_common.base.errors import CopilotError, InvalidInput
from copilot_domain.workflows.parsing import Syntax, parse

MOST_WORKFLOWS = 10_000  # that are looked through for a name

_SYNTAXES: dict[str, Syntax] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


@dataclass(frozen=True)
class DefinitionFile:
    """`name` is the workflow's, as far as there is one."""

    content: bytes
    media_type: str
    name: str | None


def read_definition(file: Path) -> DefinitionFile:
    """Raises CopilotError for what is neither JSON nor YAML."""
    syntax, content = _syntax(file), file.read_bytes()
    value = _parsed(file, content, syntax)
    name = value.get("name") if isinstance(value, dict) else None
    return DefinitionFile(content, f"application/{syntax}", name if isinstance(name, str) else None)


def same_name(client: ApiClient, name: str) -> UUID | None:
    """Of the one workflow that is called so. Raises InvalidInput where several are."""
    found = [one.id for one in client.workflows.list(MOST_WORKFLOWS) if one.name == name]
    if len(found) > 1:
        ids = ", ".join(map(str, found))
        raise InvalidInput({"name": f"several workflows are called {name!r}; say which by its id: {ids}"})
    return found[0] if found else None


def find_workflow(client: ApiClient, name_or_id: str) -> UUID:
    """Raises InvalidInput where no workflow, or more than one, is called so."""
    try:
        return UUID(name_or_id)
    except ValueError:
        found = same_name(client, name_or_id)
    if found is None:
        raise InvalidInput({"name": f"no workflow is called {name_or_id!r}: copilot workflow list"})
    return found


def read_inputs(file: Path | None, given: Sequence[str]) -> dict[str, object]:
    """Those of the file, and over them `NAME=VALUE`. Raises CopilotError."""
    values: dict[str, object] = {}
    if file is not None:
        found = _parsed(file, file.read_bytes(), _syntax(file))
        if not isinstance(found, dict):
            raise InvalidInput({str(file): "must be an object: names and values"})
        values = found
    for text in given:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise InvalidInput({"--input": f"{text!r} is not NAME=VALUE"})
        values[name] = _value(value)
    return values


def _value(text: str) -> object:
    try:
        return parse(text.encode(), "json")
    except CopilotError:
        return text


def _syntax(file: Path) -> Syntax:
    syntax = _SYNTAXES.get(file.suffix.lower())
    if syntax is None:
        raise InvalidInput({str(file): f"must end with {', '.join(_SYNTAXES)}"})
    return syntax


def _parsed(file: Path, content: bytes, syntax: Syntax) -> object:
    try:
        return parse(content, syntax)
    except InvalidInput as error:
        raise InvalidInput({f"{file} {path}": fault for path, fault in error.fields.items()}) from None
    except CopilotError as error:
        message = error.message.replace("The body", str(file))
        raise CopilotError(message) from None


def encoded(value: object) -> str:
    """JSON as a person reads it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
