"""The composition root: everything the workflow engine is made of is put together here, and nowhere else."""

import asyncio
from importlib.metadata import version
from typing import Any

from loguru import logger
from prometheus_client import Gauge

from copilot_common.base.errors import CopilotError
from copilot_common.blobs import BlobKeeper, build_blob_store, open_bucket
from copilot_common.expressions.evaluator import Evaluator, expression_sandbox
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.db import Database
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.platform.settings import Settings
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue import WORKFLOW_QUEUE, Handler, JobType
from copilot_common.queue.process import Backbone, build_backbone, run_worker
from copilot_common.queue.requests import RequestClient
from copilot_domain.context.asking import SearchClient
from copilot_domain.conversations.generation import BackgroundGenerator, GenerationService, StreamLog
from copilot_domain.conversations.jobs import GENERATE_MESSAGE, TITLE_CONVERSATION
from copilot_domain.conversations.titling import ConversationTitler
from copilot_domain.webhooks import DELIVER, prune
from copilot_domain.webhooks.delivering import DeliverWebhook
from copilot_domain.workflows.execution.abandoned import AbandonedRuns
from copilot_domain.workflows.execution.handler import RunLeader
from copilot_domain.workflows.execution.kinds import Toolbox
from copilot_domain.workflows.execution.metrics import RunMetrics
from copilot_domain.workflows.runs.jobs import ADVANCE_RUN
from copilot_domain.workflows.runs.nudging import Nudger
from copilot_domain.workflows.schedules.watching import Schedules
from copilot_domain.workflows.triggers import prune_calls
from copilot_domain.workflows.versions import Versions

SERVICE = "workflow-engine"
PROBE_PORT = 8081
_PRUNE_SECONDS = 60.0
_EXPRESSION_PROCESSES = 2


async def run(settings: Settings) -> None:
    """The whole life of the process. Raises SettingsError where it must not work."""
    backbone = build_backbone(SERVICE, settings, version=version("copilot-workflow-engine"))
    models = ModelRegistry(settings, backbone.registry)
    log = StreamLog(backbone.redis, ttl_seconds=settings.stream_log_ttl_seconds)
    requests = RequestClient(backbone.redis, backbone.tenants_db, backbone.process_id)
    generations = _generations(backbone, models, log, SearchClient(requests))
    egress = Egress(EgressRules(settings.egress_exemptions))
    sandbox = expression_sandbox(size=_EXPRESSION_PROCESSES)
    toolbox = _toolbox(backbone, models, SearchClient(requests), egress, Evaluator(sandbox))
    metrics, nudger = RunMetrics(backbone.registry), Nudger(backbone.redis)
    await run_worker(
        backbone,
        WORKFLOW_QUEUE,
        _handlers(backbone, models, log, generations, egress) | {ADVANCE_RUN: RunLeader(toolbox, metrics, nudger)},
        probe_port=PROBE_PORT,
        companions=[
            _Models(models),
            requests,
            sandbox,
            _Generations(generations),
            _Webhooks(backbone.database, egress),
            BlobKeeper(backbone.database, open_bucket(settings)),
            Schedules(backbone.tenants_db, backbone.ledger, toolbox.versions),
            AbandonedRuns(backbone.database, metrics),
            nudger,
        ],
    )


def _handlers(
    backbone: Backbone, models: ModelRegistry, log: StreamLog, generations: GenerationService, egress: Egress
) -> dict[JobType[Any], Handler]:
    """Which job is whose. A new one is a line here."""
    settings = backbone.settings
    return {
        GENERATE_MESSAGE: BackgroundGenerator(
            backbone.tenants_db,
            models,
            log,
            generations,
            process_id=backbone.process_id,
            max_messages=settings.max_conversation_messages,
        ),
        TITLE_CONVERSATION: ConversationTitler(backbone.tenants_db, models),
        DELIVER: DeliverWebhook(backbone.tenants_db, egress),
    }


def _toolbox(
    backbone: Backbone, models: ModelRegistry, search: SearchClient, egress: Egress, evaluator: Evaluator
) -> Toolbox:
    return Toolbox(
        db=backbone.tenants_db,
        ledger=backbone.ledger,
        blobs=build_blob_store(backbone.settings, backbone.tenants_db),
        versions=Versions(),
        evaluator=evaluator,
        models=models,
        search=search,
        egress=egress,
        http_hosts=backbone.settings.allowed_tool_hosts,
    )


def _generations(backbone: Backbone, models: ModelRegistry, log: StreamLog, search: SearchClient) -> GenerationService:
    settings = backbone.settings
    active = Gauge(
        "active_conversations",
        "Conversations with a generation in flight in this process",
        registry=backbone.registry,
    )
    return GenerationService(
        backbone.tenants_db,
        models,
        log,
        process_id=backbone.process_id,
        max_messages=settings.max_conversation_messages,
        max_running=settings.max_concurrent_generations,
        active=active,
        ledger=backbone.ledger,
        search=search,
    )


class _Models:
    """Adapters are made on first use; here they are closed."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    async def start(self) -> None:
        for warning in self._models.warnings:
            logger.bind(hint=warning).warning("Model settings")

    async def stop(self) -> None:
        await self._models.aclose()


class _Webhooks:
    """What is old of deliveries, and of calls that came in, goes; the outgoing connections are closed at the end."""

    def __init__(self, database: Database, egress: Egress) -> None:
        self._database = database
        self._egress = egress
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._prune_forever(), name="old deliveries")

    async def stop(self) -> None:
        await end_tasks([self._loop])
        await self._egress.aclose()

    async def _prune_forever(self) -> None:
        while True:
            try:
                await prune(self._database)
                await prune_calls(self._database)
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Old deliveries and calls not pruned")
            except Exception as error:  # this loop must outlive any one fault
                logger.opt(exception=error).error("Pruning deliveries and calls failed")
            await asyncio.sleep(_PRUNE_SECONDS)


class _Generations:
    """Checkpoints, the stream log and the sweep of answers that nobody makes any more."""

    def __init__(self, generations: GenerationService) -> None:
        self._generations = generations

    async def start(self) -> None:
        self._generations.start()

    async def stop(self) -> None:
        await self._generations.stop()
