"""Real API processes (`python -m copilot_api`) for tests: on a test's own database, or one shared by a worker's tests.

Each has two tenants and the provider simulator as its only provider. A process ends with the test run, however that
ends; its log stays readable until then.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import psycopg
import pytest
from redis import Redis

from copilot_devstack.ports import free_port, listens
from copilot_devstack.processes import Process, spawn, wait_until
from copilot_domain.tenants.bootstrap import bootstrap
from support.clients import Client, Credentials
from support.simulator import SimulatorHandle
from support.stack import Database, StackUrls, clone_template

ENCRYPTION_KEY = bytes(range(7, 39)).hex()
JWT_SECRET = "an access-token secret of tests, 0123456789"
PROVIDER_KEY = "sk-provider-key-of-tests"
PASSWORD = "correct horse battery staple"
_READY_SECONDS = 30.0
_SHARED_REDIS_DATABASES = 32  # from here on; the ones below are flushed before each test that asks for one
_SHARED = pytest.StashKey["SharedApi"]()
_SIMULATOR = pytest.StashKey[SimulatorHandle]()


@dataclass
class ApiProcess:
    """One serving process. `environ` are its settings, to start another one like it."""

    url: str
    process: Process
    log_path: Path
    environ: dict[str, str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """As a crash would, or the kernel short of memory."""
        self.process.stop(((signal.SIGKILL, 10.0),))

    def send(self, number: signal.Signals) -> None:
        self.process.send(number)

    @property
    def exit_code(self) -> int | None:
        child = self.process._child
        return child.poll() if child else None

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """Every line; fails where one is no JSON."""
        return [msgspec.json.decode(line) for line in self.log_path.read_bytes().splitlines()]

    def client(self, credentials: Credentials | None = None, **headers: str) -> Client:
        return Client(self.url, credentials, headers)


def environment(site: "Site", **more: object) -> dict[str, str]:
    """Settings of an API process; `more` wins, in lower case."""
    given: dict[str, object] = {
        "database_url": site.database.app_url,
        "redis_url": site.redis_url,
        "jwt_secret": JWT_SECRET,
        "encryption_key": ENCRYPTION_KEY,
        "rate_limit_requests": 1_000_000,
        "host": "127.0.0.1",
        "max_retries": 1,
        "openai_api_key": PROVIDER_KEY,
        "openai_base_url": site.simulator.base_urls["openai"],
        "default_model": "openai/sim",
        **more,
    }
    return {name.upper(): str(value) for name, value in given.items()}


def launch_api(environ: dict[str, str], folder: Path) -> ApiProcess:
    """Started, not yet ready. Call it from the main thread: the process ends with the thread that starts it."""
    port = free_port()
    environ = environ | {"PORT": str(port)}
    log_path = folder / f"api-{port}.log"
    process = spawn(
        [sys.executable, "-m", "copilot_api"],
        log=log_path,
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONUNBUFFERED": "1", **environ},
        on_parent_death=signal.SIGKILL,
    )
    return ApiProcess(f"http://127.0.0.1:{port}", process, log_path, environ)


def wait_ready(api: ApiProcess) -> ApiProcess:
    ready = wait_until(lambda: not api.process.is_alive or _is_ready(api), _READY_SECONDS) and api.process.is_alive
    assert ready, f"the API did not start:\n{api.log_path.read_text()[-4_000:]}"
    return api


def _is_ready(api: ApiProcess) -> bool:
    if not listens(api.pid, urlsplit(api.url).port or 0):
        return False
    try:
        return httpx.get(f"{api.url}/health/ready", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


StartApi = Callable[..., ApiProcess]


@contextmanager
def api_processes() -> Iterator[StartApi]:
    """`start(environ)`: ready API processes, all ended at the end."""
    started: list[ApiProcess] = []

    with tempfile.TemporaryDirectory(prefix="copilot-api-") as folder:

        def start(environ: dict[str, str], *, ready: bool = True) -> ApiProcess:
            api = launch_api(environ, Path(folder))
            started.append(api)
            return wait_ready(api) if ready else api

        try:
            yield start
        finally:
            for api in started:
                api.process.send(signal.SIGCONT)
                api.kill()


@pytest.fixture
def start_api() -> Iterator[StartApi]:
    with api_processes() as start:
        yield start


@dataclass(frozen=True)
class Site:
    """A migrated database with two tenants, and what an API process on it needs."""

    database: Database
    redis_url: str
    simulator: SimulatorHandle
    acme: Credentials
    other: Credentials

    def environ(self, **more: object) -> dict[str, str]:
        return environment(self, **more)

    def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        """Any statement, as the superuser, who sees all tenants."""
        with psycopg.connect(self.database.admin_url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), params)
            return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class SharedApi:
    """The API that all of a worker's harmless tests share. Its tenants fill up: a test looks at what it made itself."""

    site: Site
    process: ApiProcess

    @property
    def acme(self) -> Client:
        return self.process.client(self.site.acme)

    @property
    def other(self) -> Client:
        return self.process.client(self.site.other)


async def make_tenant(database: Database, slug: str) -> Credentials:
    """A tenant with an owner and a key that has every scope."""
    made = await bootstrap(
        database.owner_url,
        encryption_key=bytes.fromhex(ENCRYPTION_KEY),
        tenant_slug=slug,
        tenant_name=slug.capitalize(),
        admin_email=f"owner@{slug}.example",
        admin_username=f"owner-{slug}",
        admin_password=PASSWORD,
    )
    assert made.api_key
    return Credentials(
        tenant_id=str(made.tenant_id), user_id=str(made.user_id), api_key=made.api_key, username=f"owner-{slug}"
    )


def make_site(database: Database, redis_url: str, simulator: SimulatorHandle) -> Site:
    async def tenants() -> tuple[Credentials, Credentials]:
        return await make_tenant(database, "acme"), await make_tenant(database, "other")

    # In a thread: asyncio.run here would take pytest-asyncio's loop away from the main one.
    with ThreadPoolExecutor(max_workers=1) as pool:
        acme, other = pool.submit(lambda: asyncio.run(tenants())).result()
    return Site(database, redis_url, simulator, acme, other)


def _simulator(request: pytest.FixtureRequest) -> SimulatorHandle:
    """One per worker, whichever folder's tests ask first."""
    if _SIMULATOR not in request.config.stash:
        request.config.stash[_SIMULATOR] = request.getfixturevalue("simulator")
    return request.config.stash[_SIMULATOR]


@pytest.fixture
def site(database: Database, redis_url: str, request: pytest.FixtureRequest) -> Site:
    """A site of the test's own, for tests that stop and kill."""
    return make_site(database, redis_url, _simulator(request))


@pytest.fixture(scope="session")
def shared_api(stack: StackUrls, request: pytest.FixtureRequest) -> SharedApi:
    """Kept in the stash: each folder that imports this fixture would have one of its own."""
    stash = request.config.stash
    if _SHARED not in stash:
        database = clone_template(stack.admin_url)
        worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        redis_url = stack.redis_url.rpartition("/")[0] + f"/{_SHARED_REDIS_DATABASES + worker}"
        with Redis.from_url(redis_url) as client:
            client.flushdb()
        made = make_site(database, redis_url, _simulator(request))
        processes = ExitStack()
        request.config.add_cleanup(processes.close)
        start = processes.enter_context(api_processes())
        stash[_SHARED] = SharedApi(made, start(made.environ()))
    return stash[_SHARED]
