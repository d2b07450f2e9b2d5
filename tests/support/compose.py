"""deploy/compose.yaml and deploy/stack.yaml as Docker would read them: variables put in, files of variables too."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it comes without types
import yaml  # type: ignore[import-untyped]  # likewise

from support.charts import ROOT, Manifest

DEPLOY = ROOT / "deploy"
EMAIL = "you@example.com"
GIVEN = {"REGISTRY": "llmcopilot", "VERSION": "1.0.0", "COPILOT_EMAIL": EMAIL}
"""What an operator has to export; the images are those of the charts' default values."""
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<operator>:-|:\?)(?P<rest>[^}]*))?\}")
_SIZES = {"G": 2**30, "M": 2**20, "Gi": 2**30, "Mi": 2**20}


class Missing(Exception):
    """A variable that has to be given."""


def read(name: str, **given: str) -> Manifest:
    content: Manifest = _interpolate(yaml.load((DEPLOY / name).read_text(), Loader=_Loader), given)
    return content


@cache
def compose() -> Manifest:
    return read("compose.yaml", **GIVEN)


@cache
def stack() -> Manifest:
    return read("stack.yaml", **GIVEN)


def environment(service: Manifest) -> dict[str, str]:
    """Of its container: what is written at the service wins."""
    found = dict[str, str]()
    for name in service.get("env_file", []):
        lines = (DEPLOY / name).read_text().splitlines()
        found |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    own: dict[str, str] = service.get("environment", {})
    return found | own


def seconds(duration: str) -> int:
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration).groups()  # type: ignore[union-attr]
    return int(minutes or 0) * 60 + int(rest or 0)


def in_bytes(size: str) -> int:
    """Docker's sizes and Kubernetes': both by 1024."""
    number, unit = re.fullmatch(r"(\d+)(\w+)", size).groups()  # type: ignore[union-attr]
    return int(number) * _SIZES[unit]


def faults(content: Manifest) -> Iterator[str]:
    """What the Compose specification's schema has against it, unknown fields included."""
    for error in _specification().iter_errors(content):
        yield f"{error.json_path}: {error.message}"


@cache
def _specification() -> "jsonschema.Draft202012Validator":
    path = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # likewise
    """It merges (`<<`), as Docker does, and refuses a key given twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key stands twice{node.start_mark}"
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _interpolate(value: Any, given: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {key: _interpolate(part, given) for key, part in value.items()}
        case list():
            return [_interpolate(part, given) for part in value]
        case str():
            return _VARIABLE.sub(lambda found: _value(found, given), value)
        case _:
            return value


def _value(found: re.Match[str], given: Mapping[str, str]) -> str:
    if found[0] == "$$":
        return "$"
    value = given.get(found["name"])
    if not value and found["operator"] == ":?":
        raise Missing(found["name"])
    return value or found["rest"] or ""
