"""The product as it runs in production: migrated and bootstrapped database, one API process, log level info."""

import asyncio
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from bench.load.job import Target
from bench.simulated import SimulatedProvider
from bench.stores import durable_stores
from bench.words import QUESTION, TURNS, json_text
from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.base.ids import TenantId, UserId
from copilot_common.platform import migrate
from copilot_common.tenancy import Principal
from copilot_devstack import TemporaryStores
from copilot_devstack.api_server import ApiServer
from copilot_domain.tenants.bootstrap import bootstrap

DEFAULT_POOL = 8
_RATE_LIMIT = "1000000000"
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Product:
    """`stores` and `api` run. `connections` are the settings that every process of it shares; `principal` is the first
    tenant's owner."""

    stores: TemporaryStores
    api: ApiServer
    api_key: str
    connections: Mapping[str, str]
    principal: Principal

    @property
    def pid(self) -> int:
        pid = self.api.pid
        if pid is None:
            raise RuntimeError("the API process has gone")
        return pid

    def rss_mib(self) -> float:
        return psutil.Process(self.pid).memory_info().rss / _MIB

    def plain(self) -> Target:
        return self._target("messages", {"content": QUESTION})

    def streamed(self, script: str) -> Target:
        """`script` is the simulator's model id."""
        return self._target("messages/stream", {"content": QUESTION, "model": f"openai/{script}"})

    def _target(self, path: str, body: Mapping[str, object]) -> Target:
        return Target(
            host="127.0.0.1",
            port=self.api.port,
            path=f"/api/v1/conversations/{{conversation}}/{path}",
            headers={"X-API-Key": self.api_key},
            bodies=[json_text(body)],
            conversations="/api/v1/conversations",
            turns=TURNS,
        )


@contextmanager
def running_product(simulator: SimulatedProvider, *, pool: int) -> Iterator[Product]:
    """Everything of it is gone afterwards."""
    with durable_stores() as stores:
        secret_settings = {"JWT_SECRET": secrets.token_urlsafe(48), "ENCRYPTION_KEY": secrets.token_hex(32)}
        app_url, api_key, principal = _prepare(stores, bytes.fromhex(secret_settings["ENCRYPTION_KEY"]))
        connections = {"DATABASE_URL": app_url, "REDIS_URL": stores.redis.url, **secret_settings}
        environ = _environment(simulator, pool)
        api = ApiServer(stores.home, environ=environ, connections=lambda: connections, ends_with_parent=True)
        try:
            api.start()
            yield Product(stores, api, api_key, connections, principal)
        finally:
            api.stop()


def _environment(simulator: SimulatedProvider, pool: int) -> dict[str, str]:
    """Besides what is named here, the API runs on its defaults."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "NODE_ENV": "production",
        "LOG_LEVEL": "info",
        "PORT": "0",
        "DATABASE_POOL_MAX": str(pool),
        "RATE_LIMIT_REQUESTS": _RATE_LIMIT,
        "OPENAI_BASE_URL": simulator.openai_url,
        "OPENAI_API_KEY": "sk-simulated",
        "DEFAULT_MODEL": "openai/sim",
    }


def _prepare(stores: TemporaryStores, encryption_key: bytes) -> tuple[str, str, Principal]:
    """Schema and first tenant; returns the app role's URL, an API key and the tenant's owner."""
    app_url = stores.postgres.url("copilot_app", secrets.token_urlsafe(16))
    owner_url = stores.postgres.url("copilot_owner", secrets.token_urlsafe(16))
    admin_url = stores.postgres.admin_url
    asyncio.run(migrate.up(migrate.DatabaseUrls(migration=owner_url, app=app_url, admin=admin_url)))
    made = asyncio.run(
        bootstrap(
            owner_url,
            encryption_key=encryption_key,
            tenant_slug="bench",
            tenant_name="Bench",
            admin_email="bench@example.com",
            admin_username="bench",
            admin_password=secrets.token_urlsafe(18),
        )
    )
    if made.api_key is None:
        raise RuntimeError("a fresh database has a tenant already")
    return app_url, made.api_key, owner(made.tenant_id, made.user_id)


def owner(tenant_id: TenantId, user_id: UserId) -> Principal:
    return Principal(
        kind="user",
        tenant_id=tenant_id,
        credential_id=user_id,
        user_id=user_id,
        role="owner",
        scopes=ROLE_SCOPES["owner"],
    )
