"""What the routes stand on, wired together once in `composition`."""

import asyncio
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from copilot_api.http.crowd import Crowd
from copilot_common.auth.authenticate import Authenticator
from copilot_common.base.ids import ProcessId
from copilot_common.blobs import BlobStore
from copilot_common.limits import RequestLimits
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.db import Database
from copilot_common.platform.health import Health
from copilot_common.platform.lease import ProcessLease
from copilot_common.platform.metrics import HttpMetrics
from copilot_common.platform.sandbox.pool import Sandbox
from copilot_common.platform.settings import Settings
from copilot_common.platform.trace import Tracer
from copilot_common.queue import ArqLine, DepthGauges, JobSweeper, Ledger, Ringer
from copilot_common.queue.requests import RequestClient
from copilot_common.tenancy import Replica, TenantDatabase, Watermarks
from copilot_domain.context import CollectionService, ContextService
from copilot_domain.context.asking import SearchClient
from copilot_domain.context.following import ItemFollower
from copilot_domain.context.reembedding.service import IndexService
from copilot_domain.conversations import ConversationService
from copilot_domain.conversations.generation import GenerationService
from copilot_domain.tenants import TenantServices
from copilot_domain.webhooks import WebhookService
from copilot_domain.workflows.mcp_servers.service import McpServerService
from copilot_domain.workflows.runs.following import RunFollower
from copilot_domain.workflows.runs.nudging import NudgeListener
from copilot_domain.workflows.runs.service import RunService
from copilot_domain.workflows.schedules.service import ScheduleService
from copilot_domain.workflows.service import WorkflowService
from copilot_domain.workflows.triggers import TriggerService


@dataclass
class Services:
    settings: Settings
    health: Health
    process_id: ProcessId
    registry: CollectorRegistry
    metrics: HttpMetrics
    tracer: Tracer | None
    database: Database
    tenants_db: TenantDatabase
    watermarks: Watermarks | None
    replica: Replica | None
    redis: Redis
    lease: ProcessLease
    line: ArqLine
    ringer: Ringer
    ledger: Ledger
    requests: RequestClient
    searches: SearchClient
    can_rerank: bool
    sweeper: JobSweeper
    queue_depths: DepthGauges
    authenticator: Authenticator
    limits: RequestLimits
    models: ModelRegistry
    tenants: TenantServices
    conversations: ConversationService
    generations: GenerationService
    webhooks: WebhookService
    blobs: BlobStore
    context: ContextService
    collections: CollectionService
    indexes: IndexService
    item_events: ItemFollower
    uploads: Crowd
    item_streams: Crowd
    expressions: Sandbox
    workflows: WorkflowService
    runs: RunService
    schedules: ScheduleService
    triggers: TriggerService
    mcp_servers: McpServerService
    nudges: NudgeListener
    run_events: RunFollower
    loops: list[asyncio.Task[None]] = field(default_factory=list)
