"""The Grafana dashboards, and their queries as Grafana would send them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.charts import ROOT

FILES = sorted((ROOT / "dashboards").glob("*.json"))

_VARIABLES = {  # each the value of "All", or of a short time shown
    "$namespace": ".*",
    "$__rate_interval": "1m",
    "$__range": "5m",
}


@dataclass(frozen=True)
class Query:
    dashboard: str
    panel: str
    expression: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}"

    @property
    def substituted(self) -> str:
        """For Prometheus."""
        expression = self.expression
        for name, value in _VARIABLES.items():
            expression = expression.replace(name, value)
        return expression


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def panels(path: Path) -> list[dict[str, Any]]:
    """Without the rows between them."""
    return [panel for panel in load(path)["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    return [
        Query(path.stem, panel["title"], target["expr"])
        for path in FILES
        for panel in panels(path)
        for target in panel["targets"]
    ]
