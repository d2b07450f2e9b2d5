"""What the tests of this slice stand on: the services over a real database and Redis, and people in tenants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from argon2 import Parameters, Type
from prometheus_client import CollectorRegistry

from copilot_common.auth.authenticate import Authenticator
from copilot_common.auth.passwords import Passwords
from copilot_common.auth.tokens import AccessTokens
from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.encryption import KeyRing
from copilot_common.limits import Limiter
from copilot_common.platform.db import Database
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.settings import Settings
from copilot_common.tenancy import Principal, Role, TenantDatabase
from copilot_domain.tenants import Session, TenantServices, user_repository
from copilot_domain.tenants.bootstrap import Bootstrapped, bootstrap, create_platform_key
from support.stack import Database as TestDatabase

PASSWORD = "correct horse battery staple"
ENCRYPTION_KEY = bytes(range(32))
JWT_SECRET = "a secret that only these tests know, 0123456789"
ADDRESS = "203.0.113.7"
CHEAP = Parameters(type=Type.ID, version=19, salt_len=8, hash_len=16, time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class World:
    """`acme` is a tenant with an owner (ann@acme.example) and a first API key."""

    urls: TestDatabase
    database: Database
    db: TenantDatabase
    limiter: Limiter
    access_tokens: AccessTokens
    authenticator: Authenticator
    passwords: Passwords
    acme: Bootstrapped

    def services(self, **settings: object) -> TenantServices:
        given = Settings(
            database_url=self.urls.app_url,
            redis_url="",
            jwt_secret=JWT_SECRET,
            encryption_key="",
            **settings,  # type: ignore[arg-type]
        )
        return TenantServices(self.db, self.limiter, given, access_tokens=self.access_tokens, passwords=self.passwords)

    @property
    def tenant_id(self) -> TenantId:
        return self.acme.tenant_id

    async def log_in(self, name: str, **more: str) -> Session:
        return await self.services().sessions.log_in(name, PASSWORD, tenant=more.get("tenant"), address=ADDRESS)

    async def by_token(self, token: str) -> Principal:
        return await self.authenticator.authenticate(authorization=f"Bearer {token}", api_key=None, address=ADDRESS)

    async def by_key(self, key: str) -> Principal:
        return await self.authenticator.authenticate(authorization=None, api_key=key, address=ADDRESS)

    async def owner(self) -> Principal:
        return await self.by_token((await self.log_in("ann")).access_token)

    async def add_member(self, name: str, role: Role, tenant_id: TenantId | None = None) -> UserId:
        """`name@acme.example`, with PASSWORD."""
        user_id, tenant_id = UserId(new_id()), tenant_id or self.tenant_id
        password_hash = await self.passwords.hash(PASSWORD)
        async with self.db.transaction(Principal.system(tenant_id, user_id)) as tx:
            await user_repository.insert_user(tx, user_id, f"{name}@acme.example", name, password_hash)
        await self.join(user_id, role, tenant_id)
        return user_id

    async def join(self, user_id: UUID, role: Role, tenant_id: TenantId) -> None:
        insert = "INSERT INTO memberships (tenant_id, user_id, role) VALUES (%s, %s, %s)"
        await self.as_owner(insert, tenant_id, user_id, role)

    async def principal(self, name: str) -> Principal:
        return await self.by_token((await self.log_in(name)).access_token)

    async def other_tenant(self) -> Bootstrapped:
        return await make_tenant(self.urls.owner_url, f"other-{uuid4().hex[:8]}")

    async def platform(self) -> Principal:
        _, key = await create_platform_key(self.urls.owner_url, "operator")
        return await self.by_key(key)

    async def as_owner(self, query: str, *params: object) -> list[tuple[object, ...]]:
        """Any statement, as the role that sees all tenants."""
        return await _run(self.urls.owner_url, query, *params)

    async def as_admin(self, query: str, *params: object) -> list[tuple[object, ...]]:
        """Any statement, as the role that sees what all sessions do."""
        return await _run(self.urls.admin_url, query, *params)

    async def until_blocked(self, task: "asyncio.Task[Any]") -> None:
        """Until `task` waits for a lock in PostgreSQL, or has ended without ever having to."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(30):
            while not task.done() and await self.as_admin(query) == [(0,)]:
                pass  # as_admin lets the others run

    async def audited(self, action: str) -> list[tuple[object, ...]]:
        """Tenant, actor type, user, resource, address of each audit row of that action."""
        query = (
            "SELECT tenant_id, actor_type, user_id, resource_id, address FROM audit_log WHERE action = %s ORDER BY id"
        )
        return await self.as_owner(query, action)


async def _run(url: str, query: str, *params: object) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(query.encode(), params)
        return await cursor.fetchall() if cursor.description else []


async def make_tenant(owner_url: str, slug: str, admin: str | None = None) -> Bootstrapped:
    admin = admin or f"admin-{slug}"
    return await bootstrap(
        owner_url,
        encryption_key=ENCRYPTION_KEY,
        tenant_slug=slug,
        tenant_name=slug.capitalize(),
        admin_email=f"{admin}@{slug}.example",
        admin_username=admin,
        admin_password=PASSWORD,
    )


@asynccontextmanager
async def open_world(urls: TestDatabase, redis_url: str) -> AsyncIterator[World]:
    database = Database(urls.app_url, max_size=4, application_name="tests")
    redis = connect_redis(redis_url)
    await database.open()
    access_tokens = AccessTokens(JWT_SECRET, ttl_seconds=900)
    yield World(
        urls=urls,
        database=database,
        db=TenantDatabase(database, KeyRing(ENCRYPTION_KEY)),
        limiter=Limiter(redis, CollectorRegistry()),
        access_tokens=access_tokens,
        authenticator=Authenticator(database, access_tokens),
        passwords=Passwords(CHEAP),
        acme=await make_tenant(urls.owner_url, "acme", admin="ann"),
    )
    await database.close()
    await redis.aclose()
