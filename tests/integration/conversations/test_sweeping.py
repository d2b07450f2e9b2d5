"""One sweep over answers of dead processes, some of which cannot be ended."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from copilot_common.base.ids import ProcessId, TenantId, UserId, new_id
from copilot_common.encryption import KeyRing, Purpose
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.db import Database
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.settings import load_settings
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.conversations import ConversationRepository, NewConversation
from copilot_domain.conversations.generation import StreamLog
from copilot_domain.conversations.generation.sweeping import Sweeper
from copilot_domain.conversations.repository import MessageRow
from support.api import ENCRYPTION_KEY, Site
from support.clients import eventually


class Deleting(ConversationRepository):
    """Somebody deletes a conversation between the sweeper's claim and its look at the message."""

    def __init__(self, message_id: UUID) -> None:
        self._message_id = message_id

    async def message(self, tx: Transaction, conversation_id: UUID, message_id: UUID) -> MessageRow:
        if message_id == self._message_id:
            await self.delete(tx, conversation_id)
        return await super().message(tx, conversation_id, message_id)


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

    def sweeper(self, repository: ConversationRepository) -> Sweeper:
        return Sweeper(self.db, self.log, repository, self.models, ProcessId(new_id()), known=list)

    def status(self, message: UUID) -> str | None:
        rows = self.site.rows("SELECT status FROM messages WHERE id = %s", message)
        return rows[0][0] if rows else None


@pytest.fixture
async def ground(site: Site) -> AsyncIterator[Ground]:
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


async def test_a_conversation_deleted_under_the_sweeper_does_not_stop_it(ground: Ground) -> None:
    deleted, kept = await ground.orphan(), await ground.orphan()
    sweeper = ground.sweeper(Deleting(deleted))
    assert await sweeper.sweep() == 1
    assert ground.status(kept) == "interrupted"


async def test_an_answer_that_cannot_be_opened_does_not_keep_others_from_their_end(ground: Ground) -> None:
    broken, whole = await ground.orphan(), await ground.orphan()
    ground.site.rows("UPDATE messages SET events_sealed = 'garbage' WHERE id = %s", broken)
    assert await ground.sweeper(ConversationRepository()).sweep() == 1
    assert (ground.status(broken), ground.status(whole)) == ("generating", "interrupted")


async def test_two_sweepers_end_an_answer_once(ground: Ground) -> None:
    message = await ground.orphan()
    first, second = (ground.sweeper(ConversationRepository()) for _ in range(2))
    assert [await first.sweep(), await second.sweep()] == [1, 0]
    assert ground.site.rows("SELECT outcome FROM llm_calls WHERE message_id = %s", message) == [("interrupted",)]
