"""Queries of alert rules and dashboards: which metrics they ask for, and which there are."""

import re
from functools import cache

from support.charts import ROOT, Manifest, load_strictly

RULES = ROOT / "helm/copilot-platform/files/rules"

_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|#.*')
_NO_NAMES = re.compile(
    r"\{[^}]*\}|\[[^\]]*\]"  # selectors, ranges
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
)
_NAME = re.compile(r"(?<![\w:])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")  # what a parenthesis follows is a function
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "on", "group_left", "group_right"}
_DECLARED = re.compile(r'(Counter|Gauge|Histogram)\(\s*f?"([a-z_]+|\{name\}[a-z_]+)"')
_POOLS = ("database", "replica")  # the names that `watch_pool` is given
_FROM_ELSEWHERE = {  # Prometheus's own, those of its client's ProcessCollector, and kube-state-metrics'
    "up",
    "ALERTS",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "kube_cronjob_created",
    "kube_cronjob_status_last_successful_time",
    "kube_deployment_status_replicas_available",
}


def metrics_of(expression: str) -> set[str]:
    bare = _NO_NAMES.sub(" ", _STRING_OR_COMMENT.sub("", expression))
    return set(_NAME.findall(bare)) - _KEYWORDS


def rules() -> list[Manifest]:
    return [
        rule
        for path in sorted(RULES.glob("*.yaml"))
        for content in load_strictly(path.read_text())
        for group in content["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[Manifest]:
    return [rule for rule in rules() if "alert" in rule]


@cache
def exported() -> frozenset[str]:
    """Names as Prometheus stores them, from the places that declare them, and those of the recording rules."""
    found = set(_FROM_ELSEWHERE) | {rule["record"] for rule in rules() if "record" in rule}
    for path in [*ROOT.glob("libs/*/copilot_*/**/*.py"), *ROOT.glob("services/*/copilot_*/**/*.py")]:
        for kind, declared in _DECLARED.findall(path.read_text()):
            suffixes = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}[kind]
            for name in {declared.replace("{name}", pool) for pool in _POOLS}:
                found |= {name.removesuffix("_total") + suffix for suffix in suffixes}
    return frozenset(found)
