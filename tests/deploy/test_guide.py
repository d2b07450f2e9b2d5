"""The deployment guide's YAML is part of what the charts render with its values, or of a file in deploy/."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import pytest

from support.charts import ROOT, Manifest, load_strictly, name_of, of_kind, render_all


def blocks() -> list[str]:
    text = (ROOT / "docs/deployment-guide.md").read_text()
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@cache
def guides() -> Mapping[str, Manifest]:
    found = [manifest for block in blocks() if "\nkind: " in block for manifest in load_strictly(block)]
    return {name_of(manifest): manifest for manifest in found}


def missing(part: object, whole: object, path: str = "$") -> Iterator[str]:
    """Where `part` is no structural subset of `whole`: lists of mappings in any order, other lists as they are."""
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        for key, value in part.items():
            if key in whole:
                yield from missing(value, whole[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(part, Sequence) and isinstance(whole, Sequence) and any(isinstance(item, Mapping) for item in part):
        for number, item in enumerate(part):
            if not any(not list(missing(item, other)) for other in whole):
                yield f"{path}[{number}]"
    elif part != whole:
        yield f"{path}: {part!r} is {whole!r}"


@cache
def ours() -> Mapping[str, Manifest]:
    namespace = load_strictly((ROOT / "deploy/namespace.yaml").read_text())
    return {name_of(manifest): manifest for manifest in [*namespace, *render_all("guide")]}


def test_the_guide_has_eleven_manifests() -> None:
    assert len(guides()) == 11, sorted(guides())


@pytest.mark.parametrize("name", sorted(guides()))
def test_a_manifest_of_the_guide_is_part_of_ours(name: str) -> None:
    assert not list(missing(guides()[name], ours()[name]))


def test_the_guides_pod_security_is_every_containers() -> None:
    (block,) = [found for found in blocks() if found.startswith("securityContext:")]
    (security,) = load_strictly(block)
    for service in ("copilot-api", "copilot-workflow-engine", "copilot-context-service"):
        pod = of_kind("guide", "Deployment")[service]["spec"]["template"]["spec"]
        assert not list(missing(security, pod["containers"][0]))


def test_a_difference_to_the_guide_is_found() -> None:
    wanted = guides()["HorizontalPodAutoscaler/copilot-api-hpa"]
    other = {**wanted, "spec": {**wanted["spec"], "maxReplicas": 11}}
    assert list(missing(wanted, other)) == ["$.spec.maxReplicas: 10 is 11"]


def test_the_guides_scaling_table_is_the_default() -> None:
    limits = {"copilot-api-hpa": (3, 10), "copilot-workflow-engine-hpa": (2, 5), "copilot-context-service-hpa": (2, 5)}
    for value_set in ("default", "guide"):
        scalers = of_kind(value_set, "HorizontalPodAutoscaler")
        found = {name: (each["spec"]["minReplicas"], each["spec"]["maxReplicas"]) for name, each in scalers.items()}
        assert found == limits
        (queue,) = scalers["copilot-workflow-engine-hpa"]["spec"]["metrics"]
        assert queue["external"]["target"] == {"type": "AverageValue", "averageValue": "100"}
        (memory,) = scalers["copilot-context-service-hpa"]["spec"]["metrics"]
        assert memory["resource"] == {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}
