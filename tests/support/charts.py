"""The charts as an operator would render them: every chart with every set of values, once per process."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it comes without types

Manifest = Mapping[str, Any]

ROOT = Path(__file__).parents[2]
HELM = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
"""The wheel's, which is there for Linux on x86-64 alone, or one that is installed."""
NAMESPACE = "copilot-prod"
IN_ORDER = ("copilot-data", "copilot-platform", "copilot-api", "copilot-workflow-engine", "copilot-context-service")
"""As they are installed."""

_VALUES = ROOT / "tests/deploy/values"
VALUE_SETS: Mapping[str, Path] = {
    "default": _VALUES / "required.yaml",  # no more than what has no default
    "guide": ROOT / "helm/values-guide.yaml",
    "external-data": _VALUES / "external-data.yaml",
    "existing-secret": _VALUES / "existing-secret.yaml",
    "keda": _VALUES / "keda.yaml",
    "plain": _VALUES / "plain.yaml",
}
_CRDS = ("monitoring.coreos.com/v1", "keda.sh/v1alpha1", "external-secrets.io/v1")
_WORKLOADS = ("Deployment", "StatefulSet", "Job")


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if HELM is None:
        pytest.skip("needs helm: https://helm.sh/docs/intro/install")
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60, check=False)


def template(chart: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    known = [f"--api-versions={name}" for name in _CRDS]
    return helm("template", chart, ROOT / "helm" / chart, "--namespace", NAMESPACE, *known, *arguments)


@cache
def render(chart: str, value_set: str) -> tuple[Manifest, ...]:
    done = template(chart, "--values", VALUE_SETS[value_set])
    assert done.returncode == 0, done.stderr
    return tuple(load_strictly(done.stdout))


def render_all(value_set: str) -> list[Manifest]:
    return [manifest for chart in IN_ORDER for manifest in render(chart, value_set)]


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(value_set: str, *kinds: str) -> dict[str, Manifest]:
    return {found["metadata"]["name"]: found for found in render_all(value_set) if found["kind"] in kinds}


def pods(value_set: str) -> dict[str, tuple[Mapping[str, str], Manifest]]:
    """Labels and spec of every pod that the charts start, by the name of what starts it."""
    found: dict[str, tuple[Mapping[str, str], Manifest]] = {}
    for manifest in render_all(value_set):
        if manifest["kind"] == "Pod":
            found[name_of(manifest)] = (manifest["metadata"]["labels"], manifest["spec"])
        elif manifest["kind"] == "CronJob":
            template_ = manifest["spec"]["jobTemplate"]["spec"]["template"]
            found[name_of(manifest)] = (template_["metadata"]["labels"], template_["spec"])
        elif manifest["kind"] in _WORKLOADS:
            template_ = manifest["spec"]["template"]
            found[name_of(manifest)] = (template_["metadata"]["labels"], template_["spec"])
    return found


def containers(value_set: str) -> Iterator[tuple[str, Manifest]]:
    """Those that prepare a pod included."""
    for name, (_, spec) in pods(value_set).items():
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{name}/{container['name']}", container


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector of Kubernetes, as far as the charts use it."""
    wanted = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


class _StrictLoader(yaml.CSafeLoader):  # type: ignore[misc]  # likewise
    """Kubernetes refuses a key given twice; PyYAML would keep the last."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key stands twice{node.start_mark}"
    return dict(zip(keys, (loader.construct_object(value, deep=True) for _, value in node.value), strict=True))


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_strictly(text: str) -> Iterator[Manifest]:
    for manifest in yaml.load_all(text, Loader=_StrictLoader):
        if manifest is not None:
            yield manifest
