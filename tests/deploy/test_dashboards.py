"""Dashboards can be imported into any Grafana and show what the services export. That they show it: tests/ops."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from support.dashboards import FILES, Query, load, panels, queries
from support.promql import exported, metrics_of

_GRID_COLUMNS = 24
_PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
_GUIDES = {"api-overview", "llm-metrics", "error-rates"}

on_every_dashboard = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_the_guides_dashboards_are_there() -> None:
    assert {path.stem for path in FILES} == _GUIDES | {"queues", "context"}


@on_every_dashboard
def test_grafanas_own_types_know_every_field(path: Path) -> None:
    assert not list(lost(load(path), as_grafana_reads(load(path))))


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    dashboard = load(FILES[0])
    dashboard["panels"][1]["options"]["colour"] = "red"
    assert list(lost(dashboard, as_grafana_reads(dashboard)))


@on_every_dashboard
def test_a_dashboard_is_no_ones_installation(path: Path) -> None:
    dashboard = load(path)
    assert not {"id", "version", "__inputs", "__requires"} & dashboard.keys()
    assert not any("id" in panel for panel in dashboard["panels"])
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "namespace"]
    assert all(panel["datasource"] == _PROMETHEUS for panel in panels(path))


@on_every_dashboard
def test_a_panel_says_what_it_shows_and_in_which_unit(path: Path) -> None:
    for panel in panels(path):
        assert panel["description"].endswith(".") or "`" in panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


@on_every_dashboard
def test_panels_cover_neither_each_other_nor_the_margin(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in load(path)["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= _GRID_COLUMNS, panel["title"]
        taken |= cells


@pytest.mark.parametrize("query", queries(), ids=str)
def test_a_query_asks_for_metrics_that_are_exported_in_the_chosen_namespace(query: Query) -> None:
    asked = metrics_of(query.substituted)
    assert asked
    assert asked <= exported()
    assert query.expression.count("{") == query.expression.count('{namespace=~"$namespace"')
    assert "$" not in query.substituted


def as_grafana_reads(dashboard: dict[str, Any]) -> Any:
    """What its types keep; unknown fields are gone."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def lost(given: Any, kept: Any, path: str = "$") -> Iterator[str]:
    if isinstance(given, dict):
        for key, value in given.items():
            yield from lost(value, kept[key], f"{path}.{key}") if key in kept else [f"{path}.{key}"]
    elif isinstance(given, list):
        for number, (item, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(item, other, f"{path}[{number}]")
    elif given != kept:
        yield f"{path}: {given!r} is {kept!r}"
