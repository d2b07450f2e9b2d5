"""The deployment guide's YAML is part of what the charts render with its values, or of a file in deploy/.

What the charts' defaults do otherwise stands in docs/guide-deviations.toml, and nothing else does.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import pytest

from support.charts import ROOT, Manifest, load_strictly, name_of, of_kind, render_all
from support.coverage import deviations
from support.guide import GUIDE, read_guide

_PINNED = "30ab784cf4888a853c43c77562c8db4bed8a9c40c138c00cb1609edeb4052c8d"
_UNRENDERED = "[OUTPUT]"
"""Fluent Bit's own format in a fence that says YAML; docs/guide-coverage.md says what has become of it."""


def blocks() -> list[str]:
    return [fence.text for fence in read_guide(GUIDE).in_language("yaml")]


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
            yield from _missing_item(item, whole, f"{path}[{number}]")
    elif part != whole:
        yield f"{path}: {part!r} is {whole!r}"


def _missing_item(item: object, whole: Sequence[object], path: str) -> Iterator[str]:
    """Told by the item that lacks least."""
    lacking = [list(missing(item, other, path)) for other in whole]
    yield from min(lacking, key=len) if lacking else [path]


@cache
def ours(value_set: str) -> Mapping[str, Manifest]:
    namespace = load_strictly((ROOT / "deploy/namespace.yaml").read_text())
    return {name_of(manifest): manifest for manifest in [*namespace, *render_all(value_set)]}


def places(value_set: str) -> Iterator[str]:
    """Where the guide's manifests are no part of ours."""
    for name, manifest in guides().items():
        for place in missing(manifest, ours(value_set)[name]):
            yield f"{name} {place.partition(': ')[0]}"


def test_the_guide_is_as_it_was_given() -> None:
    assert hashlib.sha256(GUIDE.read_bytes()).hexdigest() == _PINNED


def test_the_guide_has_eleven_manifests() -> None:
    assert len(guides()) == 11, sorted(guides())


def test_every_block_of_yaml_is_a_manifest_pod_security_or_named_here() -> None:
    others = [block for block in blocks() if "\nkind: " not in block]
    assert sorted(re.sub("#.*\n", "", block).splitlines()[0] for block in others) == [_UNRENDERED, "securityContext:"]


@pytest.mark.parametrize("name", sorted(guides()))
def test_a_manifest_of_the_guide_is_part_of_ours(name: str) -> None:
    assert not list(missing(guides()[name], ours("guide")[name]))


def test_the_defaults_differ_where_a_deviation_says_so_and_nowhere_else() -> None:
    told = [place for deviation in deviations() for place in deviation.places if " $" in place]
    assert sorted(told) == sorted(places("default"))


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
