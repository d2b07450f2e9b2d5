"""What this process says of its own health."""

import asyncio
from time import monotonic
from typing import Literal

import msgspec
import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from copilot_common.base.errors import Unavailable
from copilot_common.platform.db import Database
from copilot_common.platform.lease import ProcessLease
from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS
from copilot_common.platform.schema import SchemaVerdict, judge_schema
from copilot_common.platform.tasks import Overtime

ComponentState = Literal["healthy", "degraded", "unhealthy"]

_PROBE_SECONDS = 2.0  # below a kubelet's probe timeout multiplied by its failures; a probe must answer, not hang


class HealthReport(msgspec.Struct, frozen=True):
    """`degraded` still serves. Redis away degrades cache and queue; no provider key degrades llm."""

    status: ComponentState
    version: str
    uptime_seconds: int
    components: dict[str, ComponentState]


class Health:
    """Answers probes. Liveness looks at this process alone, readiness at what it needs."""

    def __init__(
        self, database: Database, redis: Redis, lease: ProcessLease, *, version: str, has_llm: bool | None = None
    ) -> None:
        """`has_llm`: whether a provider is configured; None where the process asks none."""
        self._database = database
        self._redis = redis
        self._lease = lease
        self._has_llm = has_llm
        self._version = version
        self._started_at = monotonic()
        self._overtime = Overtime()
        self.is_booted = False
        self.is_draining = False

    def is_live(self) -> bool:
        return self._lease.is_alive

    async def unready_reason(self) -> str | None:
        """None when ready; else one sentence."""
        if self.is_draining:
            return "shutting down"
        return await self.schema_fault() or (None if self.is_booted else "starting")

    async def schema_fault(self) -> str | None:
        """Why the database cannot be used; None when it can."""
        verdict = await self._schema_verdict()
        if verdict == "unreachable":
            return "the database is not reachable"
        return None if verdict == "ok" else f"the database schema is {verdict.replace('_', ' ')}: copilot migrate up"

    async def report(self) -> HealthReport:
        schema, redis = await asyncio.gather(self._schema_verdict(), self._redis_state())
        components: dict[str, ComponentState] = {
            "database": "healthy" if schema == "ok" else "unhealthy",
            "cache": redis,
            "queue": redis,
        }
        if self._has_llm is not None:
            components["llm"] = "healthy" if self._has_llm else "degraded"
        return HealthReport(
            status=_overall(components),
            version=self._version,
            uptime_seconds=int(monotonic() - self._started_at),
            components=components,
        )

    async def _schema_verdict(self) -> str:
        try:
            return await self._overtime.within(_PROBE_SECONDS, self._judge())
        except (psycopg.Error, Unavailable, TimeoutError):
            return "unreachable"

    async def _judge(self) -> SchemaVerdict:
        async with self._database.connection() as connection:
            return await judge_schema(connection)

    async def _redis_state(self) -> ComponentState:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return "degraded"
        return "healthy"


def _overall(components: dict[str, ComponentState]) -> ComponentState:
    if components["database"] == "unhealthy":
        return "unhealthy"
    return "healthy" if set(components.values()) == {"healthy"} else "degraded"
