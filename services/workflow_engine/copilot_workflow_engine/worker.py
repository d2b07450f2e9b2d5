"""The composition root: everything the workflow engine is made of is put together here, and nowhere else."""

from functools import partial
from importlib.metadata import version
from typing import Any

from loguru import logger
from prometheus_client import Gauge

from copilot_common.blobs import build_blob_store, keep_blobs, open_bucket
from copilot_common.expressions.evaluator import Evaluator, expression_sandbox
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.companions import AtEnd, AtStart, LookOut
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.platform.settings import Settings
from copilot_common.queue import WORKFLOW_QUEUE, Handler, JobType
from copilot_common.queue.process import Backbone, build_backbone, run_worker
from copilot_common.queue.requests import RequestClient
from copilot_domain.context.asking import SearchClient
from copilot_domain.conversations.generation import BackgroundGenerator, GenerationService, StreamLog
from copilot_domain.conversations.jobs import GENERATE_MESSAGE, TITLE_CONVERSATION
from copilot_domain.conversations.titling import ConversationTitler
from copilot_domain.webhooks import DELIVER
from copilot_domain.webhooks import prune as prune_deliveries
from copilot_domain.webhooks.delivering import DeliverWebhook
from copilot_domain.workflows.execution.abandoned import settle_abandoned_runs
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
_LOOK_SECONDS = 30.0
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
            AtStart("lockdown of children", sandbox.show_lockdown),
            _Generations(generations),
            AtEnd(egress.aclose),
            LookOut("old deliveries", partial(prune_deliveries, backbone.database), every=_PRUNE_SECONDS),
            LookOut("old calls", partial(prune_calls, backbone.database), every=_PRUNE_SECONDS),
            LookOut("old blobs", partial(keep_blobs, backbone.database, open_bucket(settings)), every=_LOOK_SECONDS),
            Schedules(backbone.tenants_db, backbone.ledger, toolbox.versions),
            LookOut("abandoned runs", partial(settle_abandoned_runs, backbone.database, metrics), every=_LOOK_SECONDS),
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


class _Generations:
    """Checkpoints, the stream log and the sweep of answers that nobody makes any more."""

    def __init__(self, generations: GenerationService) -> None:
        self._generations = generations

    async def start(self) -> None:
        self._generations.start()

    async def stop(self) -> None:
        await self._generations.stop()
