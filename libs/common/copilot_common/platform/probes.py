"""A worker's probes and metrics: the API's paths and answers, on a port of their own."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from copilot_common.platform.health import Health
from copilot_common.platform.metrics import render_metrics

_UNAVAILABLE = 503
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ProbeServer:
    """`refresh` is awaited before metrics are read: for gauges that the database knows."""

    def __init__(self, health: Health, registry: CollectorRegistry, refresh: Callable[[], Awaitable[None]]) -> None:
        self._health = health
        self._registry = registry
        self._refresh = refresh
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises OSError where the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._report),
                web.get("/health/live", self._live),
                web.get("/health/ready", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _report(self, _: web.Request) -> web.Response:
        report = await self._health.report()
        return _json(report, ok=report.status != "unhealthy")

    async def _live(self, _: web.Request) -> web.Response:
        alive = self._health.is_live()
        return _json({"status": "alive" if alive else "wedged"}, ok=alive)

    async def _ready(self, _: web.Request) -> web.Response:
        reason = await self._health.unready_reason()
        return _json({"status": "ready" if reason is None else "unready", "reason": reason}, ok=reason is None)

    async def _metrics(self, _: web.Request) -> web.Response:
        await self._refresh()
        return web.Response(body=render_metrics(self._registry), headers={"Content-Type": _METRICS_TYPE})


def _json(content: object, *, ok: bool) -> web.Response:
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=200 if ok else _UNAVAILABLE, content_type="application/json")
