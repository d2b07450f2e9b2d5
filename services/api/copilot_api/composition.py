"""The composition root: everything this process is made of is put together here, and nowhere else."""

import asyncio
from functools import partial
from importlib.metadata import version
from typing import Any

from litestar import Litestar, Request
from litestar.di import NamedDependency, Provide
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler
from loguru import logger
from prometheus_client import CollectorRegistry

from copilot_api.http.access import AccessMiddleware, check_authority
from copilot_api.http.context import request_context
from copilot_api.http.crowd import Crowd
from copilot_api.http.docs import docs_router, openapi_config
from copilot_api.http.entry import AsgiApp, Entry
from copilot_api.http.errors import handle_exception
from copilot_api.http.json import JsonResponse
from copilot_api.http.parameters import wanted_page
from copilot_api.resources import ROUTE_HANDLERS
from copilot_api.server import serve
from copilot_api.services import Services
from copilot_common.auth.authenticate import Authenticator
from copilot_common.auth.tokens import AccessTokens
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.blobs import build_blob_store
from copilot_common.embedding.factory import stored_name
from copilot_common.encryption import KeyRing
from copilot_common.expressions.evaluator import Evaluator, expression_sandbox
from copilot_common.limits import Limit, Limiter, RequestLimits
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.booting import calm_garbage_collector, install_stop_signals, until_database_fits
from copilot_common.platform.db import Database
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.platform.health import Health
from copilot_common.platform.lease import ProcessLease
from copilot_common.platform.logs import configure_logs
from copilot_common.platform.metrics import HttpMetrics, new_registry, watch_pool
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.settings import Settings
from copilot_common.platform.tasks import end_tasks
from copilot_common.platform.tracing.factory import build_tracer
from copilot_common.queue import QUEUES, ArqLine, DepthGauges, Dispatcher, JobSweeper, Ledger, Ringer
from copilot_common.queue.requests import RequestClient
from copilot_common.reranking import check_reranker
from copilot_common.tenancy import Principal, Replica, TenantDatabase, Watermarks
from copilot_domain.context import CollectionService, ContextRepository, ContextService
from copilot_domain.context.asking import SearchClient
from copilot_domain.context.following import ItemFollower
from copilot_domain.context.quotas import Quotas, default_limits
from copilot_domain.context.reembedding.service import IndexService
from copilot_domain.conversations import ConversationRepository, ConversationService
from copilot_domain.conversations.generation import GenerationService, StreamLog
from copilot_domain.tenants import TenantServices
from copilot_domain.webhooks import WebhookService
from copilot_domain.workflows.mcp_servers.service import McpServerService
from copilot_domain.workflows.runs.following import RunFollower
from copilot_domain.workflows.runs.nudging import NudgeListener
from copilot_domain.workflows.runs.service import RunService
from copilot_domain.workflows.schedules.service import ScheduleService
from copilot_domain.workflows.service import WorkflowService
from copilot_domain.workflows.triggers import TriggerService
from copilot_domain.workflows.versions import Versions

SERVICE = "api-server"
_MAX_BODY_BYTES = 10_000_000
_UPLOADS, _TENANT_UPLOADS = 32, 8  # at 3 MB each, where an object store takes pieces of 1 MB
_ITEM_STREAMS, _TENANT_ITEM_STREAMS = 500, 100  # each is a look at one row a second


def build_services(settings: Settings) -> Services:
    """Connects nothing yet. Raises SettingsError."""
    process_id = ProcessId(new_id())
    rules = EgressRules(settings.egress_exemptions)
    registry = new_registry()
    metrics = HttpMetrics(registry)
    database = _database(settings, registry)
    redis = connect_redis(settings.redis_url)
    watermarks = Watermarks(redis) if settings.database_replica_url else None
    replica = _replica(settings, watermarks, registry)
    tenants_db = TenantDatabase(
        database, KeyRing(settings.encryption_key_bytes), watermarks=watermarks, replica=replica
    )
    blobs = build_blob_store(settings, tenants_db)
    lease = ProcessLease(settings.database_url, process_id, SERVICE)
    models = ModelRegistry(settings, registry)
    limiter = Limiter(redis, registry)
    line = ArqLine(settings.redis_url)
    ringer = Ringer(line)
    ledger = Ledger(ringer.ring)
    dispatcher = Dispatcher(database, process_id)
    requests = RequestClient(redis, tenants_db, process_id)
    searches = SearchClient(requests)
    expressions = expression_sandbox(size=1)  # for definitions that are written; what runs is evaluated elsewhere
    versions = Versions()
    nudges = NudgeListener(redis)
    access_tokens = AccessTokens(settings.jwt_secret, ttl_seconds=settings.access_token_ttl_seconds)
    return Services(
        settings=settings,
        health=Health(database, redis, lease, version=version("copilot-api"), has_llm=models.has_provider),
        process_id=process_id,
        registry=registry,
        metrics=metrics,
        tracer=build_tracer(settings, service=SERVICE, version=version("copilot-api"), instance=str(process_id)),
        database=database,
        tenants_db=tenants_db,
        watermarks=watermarks,
        replica=replica,
        redis=redis,
        lease=lease,
        line=line,
        ringer=ringer,
        ledger=ledger,
        requests=requests,
        searches=searches,
        can_rerank=check_reranker(settings),
        sweeper=JobSweeper(dispatcher, ringer.ring, keep_ended=settings.keep_ended_jobs),
        queue_depths=DepthGauges(dispatcher, registry, QUEUES),
        authenticator=Authenticator(database, access_tokens),
        limits=RequestLimits(limiter, Limit(settings.rate_limit_requests, settings.rate_limit_window_ms)),
        models=models,
        tenants=TenantServices(tenants_db, limiter, settings, access_tokens=access_tokens),
        conversations=ConversationService(ConversationRepository(), models, ledger),
        generations=GenerationService(
            tenants_db,
            models,
            StreamLog(redis, ttl_seconds=settings.stream_log_ttl_seconds),
            process_id=process_id,
            max_messages=settings.max_conversation_messages,
            max_running=settings.max_concurrent_generations,
            active=metrics.active_conversations,
            ledger=ledger,
            search=searches,
        ),
        blobs=blobs,
        context=ContextService(ContextRepository(), blobs, ledger, rules, Quotas(default_limits(settings))),
        collections=CollectionService(),
        indexes=_indexes(settings, ledger),
        item_events=ItemFollower(tenants_db),
        uploads=Crowd("uploads", of_tenant=_TENANT_UPLOADS, of_all=_UPLOADS),
        item_streams=Crowd("streams of items", of_tenant=_TENANT_ITEM_STREAMS, of_all=_ITEM_STREAMS),
        webhooks=WebhookService(ledger, rules),
        expressions=expressions,
        workflows=WorkflowService(Evaluator(expressions)),
        runs=RunService(tenants_db, blobs, ledger, versions),
        schedules=ScheduleService(versions),
        triggers=TriggerService(tenants_db, ledger, versions),
        mcp_servers=McpServerService(rules),
        nudges=nudges,
        run_events=RunFollower(tenants_db, blobs, nudges),
    )


def _database(settings: Settings, registry: CollectorRegistry) -> Database:
    size, mode = settings.database_pool_max, settings.database_pool_mode
    database = Database(settings.database_url, max_size=size, application_name=SERVICE, pool_mode=mode)
    watch_pool(registry, database)
    return database


def _replica(settings: Settings, watermarks: Watermarks | None, registry: CollectorRegistry) -> Replica | None:
    url = settings.database_replica_url
    if url is None or watermarks is None:
        return None
    size, mode = settings.database_pool_max, settings.database_pool_mode
    replica = Replica(url, watermarks, registry, max_size=size, application_name=SERVICE, pool_mode=mode)
    watch_pool(registry, replica.database, name="replica")
    return replica


def _indexes(settings: Settings, ledger: Ledger) -> IndexService:
    default_model = stored_name(settings) or settings.embedding_model  # the context service says what is wrong with it
    return IndexService(ledger, default_model, partial(stored_name, settings))


def build_app(services: Services) -> AsgiApp:
    """The ASGI application. Raises RuntimeError where a route lacks its entry in the authority table."""
    handlers: list[ControllerRouterHandler] = [*ROUTE_HANDLERS, docs_router]
    app = Litestar(
        handlers,
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "principal": Provide(_principal, sync_to_thread=False),
            "wanted": Provide(wanted_page, sync_to_thread=False),
        },
        middleware=[AccessMiddleware(services.authenticator, services.limits)],
        exception_handlers={Exception: handle_exception},
        response_class=JsonResponse,
        openapi_config=openapi_config(version("copilot-api")),
        request_max_body_size=_MAX_BODY_BYTES,
        logging_config=None,
    )
    check_authority(_api_routes(app))
    return Entry(app, metrics=services.metrics, trusted=services.settings.trusted_networks, tracer=services.tracer)


async def run(settings: Settings) -> None:
    """The whole life of the process. Raises SettingsError where it must not serve."""
    configure_logs(SERVICE, level=settings.log_level, style=settings.log_format)
    services = build_services(settings)
    app = build_app(services)
    stop = install_stop_signals()

    async def drain() -> None:
        services.health.is_draining = True
        await services.generations.drain(settings.drain_seconds)

    boot = asyncio.create_task(_boot(services))
    boot.add_done_callback(lambda task: stop.set() if not task.cancelled() and task.exception() else None)
    try:
        await serve(app, host=settings.host, port=settings.port, stop=stop, drain=drain)
    finally:
        await _shut_down(services, boot)
    logger.info("Stopped")


async def _boot(services: Services) -> None:
    """Probes are answered from the start, requests once the database is there with the right schema and a safe role."""
    for warning in services.models.warnings:
        logger.bind(hint=warning).warning("Model settings")
    await services.models.prepare()
    await until_database_fits(
        services.settings.database_url, services.database, services.health, services.tenants_db.keyring.refuse_other_key
    )
    if services.replica is not None:
        await services.replica.start(services.database)
    await services.lease.start()
    await services.requests.start()
    await services.nudges.start()
    await services.expressions.start()
    services.loops = [asyncio.create_task(services.sweeper.run_forever(), name="job sweeper")]
    services.generations.start()
    services.ringer.start()
    calm_garbage_collector()
    services.health.is_booted = True
    settings = services.settings
    logger.bind(port=settings.port, environment=settings.node_env, process_id=str(services.process_id)).info("Serving")


async def _shut_down(services: Services, boot: asyncio.Task[None]) -> None:
    """What is not reached in order here, the lease's lapse settles."""
    boot.cancel()
    result = (await asyncio.gather(boot, return_exceptions=True))[0]
    await services.generations.stop()
    await end_tasks(services.loops)
    await services.expressions.stop()
    await services.nudges.stop()
    await services.requests.stop()
    await services.ringer.stop()
    await services.lease.stop()
    await services.line.aclose()
    await services.models.aclose()
    if services.watermarks is not None:
        await services.watermarks.aclose()
    if services.replica is not None:
        await services.replica.stop()
    await services.redis.aclose()
    await services.database.close()
    if services.tracer:
        await services.tracer.stop()
    if isinstance(result, Exception):
        raise result


def _principal(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Principal:
    """`services` is named only for the order: two independent dependencies cost Litestar a task group per request."""
    principal = request_context(request.scope).principal
    if principal is None:
        raise RuntimeError("a public route asks for a principal")
    return principal


def _api_routes(app: Litestar) -> set[tuple[str, str]]:
    """Method and template of every route but the documentation's and the automatic OPTIONS."""
    return {
        (method, route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute) and not route.path_format.startswith(("/docs", "/schema"))
        for method in route.methods
        if method != "OPTIONS"
    }
