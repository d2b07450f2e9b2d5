"""What the product's own benches measured of one process of each service."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

SLOTS = 16
"""JOB_SLOTS: jobs that a workflow engine runs at once."""
TENANT_JOBS = 50
"""TENANT_JOB_LIMIT: of one tenant at once, in all engines."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults are of the runs that docs/scaling.md names.

    `request_cpu_ms`: of the API process for a plain answer (`plain`). `chunks_per_second`, `chunk_cpu_ms`: of a context
    service that is saturated (`retrieval`). MiB: the API's after its benches; the context service's idle (`idle`), the
    highest seen of its process alone, and with the children that read documents.
    """

    request_cpu_ms: float = 2.17
    api_mib: float = 130.0
    chunks_per_second: float = 1_025.0
    chunk_cpu_ms: float = 1.08
    context_idle_mib: float = 155.0
    context_alone_mib: float = 322.0
    context_busy_mib: float = 483.0


def read_rates(folder: Path) -> Rates:
    """The newest of each that a result in `folder` has; what none has keeps its default."""
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*.json")):
        found |= _of_one(msgspec.json.decode(path.read_bytes()))
    return Rates(**found)


def _of_one(result: dict[str, Any]) -> dict[str, float]:
    plain = [one for one in result["records"] if (one["measure"], one["contender"]) == ("plain", "product")]
    ingestions = [one for one in result["queue_records"] if one["contender"] == "ingestion"]
    found = {field: mib for row in result["rows"] for field, mib in _mib(row)}
    if plain:
        found["request_cpu_ms"] = sum(one["cpu_ms"]["api"] for one in plain) / sum(
            one["outcome"]["requests"] for one in plain
        )
    if ingestions:
        found["chunks_per_second"] = ingestions[-1]["per_second"]
    return found


_ROWS = {
    "API memory, after all of the above": "api_mib",
    "context-service idle, memory": "context_idle_mib",
    "context service, RSS at most": "context_alone_mib",
    "the same with its children": "context_busy_mib",
}


def _mib(row: dict[str, str]) -> Iterable[tuple[str, float]]:
    if row["name"] in _ROWS:
        yield _ROWS[row["name"]], float(row["measured"].removesuffix(" MiB"))
