"""What the tests of generations stand on: a database with two tenants, Redis, models, and nobody who serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import CollectorRegistry

from copilot_common.base.ids import ProcessId, TenantId, UserId, new_id
from copilot_common.encryption import KeyRing, Purpose
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.db import Database
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.settings import load_settings
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.conversations import ConversationRepository, NewConversation
from copilot_domain.conversations.generation import StreamLog
from copilot_domain.conversations.generation.sweeping import Sweeper
from support.api import ENCRYPTION_KEY, Site
from support.clients import eventually


@dataclass
class Ground:
    site: Site
    db: TenantDatabase
    principal: Principal
    log: StreamLog
    models: ModelRegistry

    async def orphan(self) -> UUID:
        """An answer whose process never was."""
        repository, conversation, message = ConversationRepository(), new_id(), new_id()
        async with self.db.transaction(self.principal) as tx:
            await repository.insert(tx, conversation, NewConversation())
            sealed = (await tx.cipher()).seal(Purpose.MESSAGE_CONTENT, message, b"")
            await tx.execute(
                "INSERT INTO messages (tenant_id, id, conversation_id, position, role, status, user_id, content_sealed,"
                " model, process_id) VALUES (%s, %s, %s, 1, 'assistant', 'generating', %s, %s, 'openai/sim', %s)",
                [self.principal.tenant_id, message, conversation, self.principal.user_id, sealed, new_id()],
            )
        return message

    async def abandoned(self, count: int) -> list[UUID]:
        """Answers that wait in one conversation, each for a job that is gone."""
        repository, conversation, messages = ConversationRepository(), new_id(), [new_id() for _ in range(count)]
        async with self.db.transaction(self.principal) as tx:
            await repository.insert(tx, conversation, NewConversation())
            for position, message in enumerate(messages, 1):
                sealed = (await tx.cipher()).seal(Purpose.MESSAGE_CONTENT, message, b"")
                await tx.execute(
                    "INSERT INTO messages (tenant_id, id, conversation_id, position, role, status, user_id,"
                    " content_sealed, job_id) VALUES (%s, %s, %s, %s, 'assistant', 'pending', %s, %s, %s)",
                    [
                        self.principal.tenant_id,
                        message,
                        conversation,
                        position,
                        self.principal.user_id,
                        sealed,
                        new_id(),
                    ],
                )
        return messages

    def sweeper(self, repository: ConversationRepository) -> Sweeper:
        return Sweeper(self.db, self.log, repository, self.models, ProcessId(new_id()), known=list)

    def status(self, message: UUID) -> str | None:
        rows = self.site.rows("SELECT status FROM messages WHERE id = %s", message)
        return rows[0][0] if rows else None


@asynccontextmanager
async def open_ground(site: Site) -> AsyncIterator[Ground]:
    database = Database(site.database.app_url, max_size=2, application_name="tests")
    await database.open()
    redis = connect_redis(site.redis_url)
    await eventually(lambda: _leases_count(site), what="PostgreSQL being up for 6 s")
    models = ModelRegistry(load_settings(site.environ()), CollectorRegistry())
    yield Ground(
        site,
        TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY))),
        Principal.system(TenantId(UUID(site.acme.tenant_id)), UserId(UUID(site.acme.user_id))),
        StreamLog(redis, ttl_seconds=60),
        models,
    )
    await models.aclose()
    await redis.aclose()
    await database.close()


async def _leases_count(site: Site) -> bool:
    """For 6 s after a start of PostgreSQL no lease is judged lapsed."""
    return bool(site.rows("SELECT pg_postmaster_start_time() < clock_timestamp() - interval '6 seconds'")[0][0])
