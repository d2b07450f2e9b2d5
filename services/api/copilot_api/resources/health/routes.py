"""Probes and metrics, at the root."""

from litestar import MediaType, Response, Router, get

from copilot_api.http.json import JsonResponse
from copilot_api.http.parameters import AppServices
from copilot_common.platform.metrics import render_metrics

_UNAVAILABLE = 503


@get("/health", tags=["health"])
async def health(services: AppServices) -> Response[object]:
    """The whole picture. 503 when this process cannot serve."""
    report = await services.health.report()
    return JsonResponse(report, status_code=200 if report.status != "unhealthy" else _UNAVAILABLE)


@get("/health/live", tags=["health"], sync_to_thread=False)
def live(services: AppServices) -> Response[object]:
    """Whether this process should go on. An unreachable database does not matter here."""
    alive = services.health.is_live()
    return JsonResponse({"status": "alive" if alive else "wedged"}, status_code=200 if alive else _UNAVAILABLE)


@get("/health/ready", tags=["health"])
async def ready(services: AppServices) -> Response[object]:
    """Whether this process can serve: database reachable, schema in range, not draining."""
    reason = await services.health.unready_reason()
    status = 200 if reason is None else _UNAVAILABLE
    return JsonResponse({"status": "ready" if reason is None else "unready", "reason": reason}, status_code=status)


@get("/metrics", tags=["health"], media_type=MediaType.TEXT)
async def metrics(services: AppServices) -> Response[bytes]:
    """Prometheus's text format."""
    await services.queue_depths.refresh()
    return Response(render_metrics(services.registry), media_type="text/plain; version=0.0.4; charset=utf-8")


health_router = Router("/", route_handlers=[health, live, ready, metrics])
