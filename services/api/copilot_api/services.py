"""What the routes stand on, wired together once in `composition`."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from copilot_api.health import Health
from copilot_common.auth.authenticate import Authenticator
from copilot_common.base.ids import ProcessId
from copilot_common.limits import RequestLimits
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.db import Database
from copilot_common.platform.lease import ProcessLease
from copilot_common.platform.metrics import HttpMetrics
from copilot_common.platform.settings import Settings
from copilot_common.queue import ArqLine, Ledger, Ringer
from copilot_common.tenancy import TenantDatabase
from copilot_domain.conversations import ConversationService
from copilot_domain.conversations.generation import GenerationService
from copilot_domain.tenants import TenantServices
from copilot_domain.webhooks import WebhookService


@dataclass(frozen=True)
class Services:
    settings: Settings
    health: Health
    process_id: ProcessId
    registry: CollectorRegistry
    metrics: HttpMetrics
    database: Database
    tenants_db: TenantDatabase
    redis: Redis
    lease: ProcessLease
    authenticator: Authenticator
    limits: RequestLimits
    models: ModelRegistry
    tenants: TenantServices
    conversations: ConversationService
    generations: GenerationService
    line: ArqLine
    ringer: Ringer
    ledger: Ledger
    webhooks: WebhookService
