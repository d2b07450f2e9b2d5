"""Kubernetes' own JSON schemas, and ours for custom resources, written from their documentation."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it comes without types
from kubernetes_validate.utils import latest_version, schema_contents
from referencing import Registry, Resource

from support.charts import ROOT, Manifest

OLDEST = "1.28.0"
NEWEST = latest_version()

_CUSTOM = ROOT / "tests/deploy/schemas"


def faults(manifest: Manifest, version: str) -> Iterator[str]:
    """What an API server of that version would refuse, unknown fields included. Custom resources know no version."""
    validator = _validator(manifest["apiVersion"], manifest["kind"], version)
    for error in validator.iter_errors(manifest):
        yield f"{error.json_path}: {error.message}"


@cache
def _validator(api_version: str, kind: str, version: str) -> Any:
    group, _, of_group = api_version.rpartition("/")
    custom = _CUSTOM / f"{group.partition('.')[0]}-{kind.lower()}.json"
    if "." in group and not group.endswith(".k8s.io"):
        return _own(custom)
    prefix = f"{group.partition('.')[0]}-{of_group}" if group else of_group
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    schema = schema_contents(f"{folder}/{kind.lower()}-{prefix}.json", version)
    registry = Resource.from_contents(schema) @ _definitions(folder, version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(folder: str, version: str) -> Registry[Any]:
    contents = schema_contents(f"{folder}/_definitions.json", version)
    return Resource.from_contents(contents) @ Registry()


def _own(path: Path) -> Any:
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)
