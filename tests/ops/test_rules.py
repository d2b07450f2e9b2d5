"""When alerts fire, and when they don't: `promtool test rules` with tests/ops/rules."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.charts import load_strictly
from support.promql import RULES, alerts
from support.tools import tool

_FILES = sorted(Path(__file__).parent.glob("rules/*.yaml"))


def promtool(*arguments: str | Path) -> None:
    program = tool("promtool", package="prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_every_rule() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yaml")))


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    promtool("test", "rules", path)


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    names = {alert["alert"] for alert in alerts()}
    assert {case["alertname"] for case in cases() if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases() if not case["exp_alerts"]} == names


def cases() -> list[Any]:
    contents = [content for path in _FILES for content in load_strictly(path.read_text())]
    return [case for content in contents for test in content["tests"] for case in test["alert_rule_test"]]
