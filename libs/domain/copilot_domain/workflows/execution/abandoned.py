"""Runs whose job is dead: every process that led them was lost, or it failed too often. And what those had started, and
who waits for a slot that was theirs."""

from copilot_common.platform.db import Database
from copilot_domain.workflows.execution.metrics import RunMetrics
from copilot_domain.workflows.runs.repository import sql

_BATCH = 100


async def settle_abandoned_runs(database: Database, metrics: RunMetrics) -> None:
    """Some of them, all tenants': they have failed, what they had started is cancelled, and who waited goes on. Raises
    Unavailable."""
    row = await database.fetch_row(sql["fail_abandoned_runs"], {"limit": _BATCH})
    metrics.runs_ended("failed", int(row[0]) if row else 0)
    await database.fetch_row(sql["cancel_orphaned_runs"], {"limit": _BATCH})
    await database.fetch_row(sql["wake_runs_for_slots"], {"limit": _BATCH})
