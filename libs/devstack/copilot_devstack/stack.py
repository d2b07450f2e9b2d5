"""The whole development stack of one clone: what runs, in which order it starts and ends."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from copilot_devstack.accounts import noted_data_folder
from copilot_devstack.api_server import ApiServer
from copilot_devstack.home import Home
from copilot_devstack.postgres import EmbeddedPostgres
from copilot_devstack.progress import Progress
from copilot_devstack.redis import EmbeddedRedis
from copilot_devstack.server import Server
from copilot_devstack.state import DevState, Secrets, load_dev_state, load_secrets, save_dev_state, save_secrets
from copilot_devstack.worker_server import ContextServiceServer, WorkerServer, WorkflowEngineServer

WORKERS: tuple[type[WorkerServer], ...] = (WorkflowEngineServer, ContextServiceServer)

OWNER = "copilot_owner"
APP = "copilot_app"


@dataclass(frozen=True)
class ServerStatus:
    name: str
    title: str
    pid: int | None
    port: int | None
    log: str


class Stack:
    """`environ` is what the API gets to see. With `ends_with_parent` nothing outlives the calling thread (Linux)."""

    def __init__(self, home: Home, environ: Mapping[str, str], *, ends_with_parent: bool = False) -> None:
        self.home = home
        self._environ = environ
        self._ends_with_parent = ends_with_parent

    @cached_property
    def postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(
            self.home,
            password=lambda: self._secrets.postgres_password,
            ends_with_parent=self._ends_with_parent,
        )

    @cached_property
    def redis(self) -> EmbeddedRedis:
        return EmbeddedRedis(self.home, ends_with_parent=self._ends_with_parent)

    @cached_property
    def api(self) -> ApiServer:
        return ApiServer(
            self.home, environ=self._environ, connections=self._connections, ends_with_parent=self._ends_with_parent
        )

    @cached_property
    def workers(self) -> tuple[WorkerServer, ...]:
        return tuple(
            kind(
                self.home,
                environ=self._environ,
                connections=self._connections,
                ends_with_parent=self._ends_with_parent,
            )
            for kind in WORKERS
        )

    @property
    def engine(self) -> WorkerServer:
        return next(worker for worker in self.workers if isinstance(worker, WorkflowEngineServer))

    @property
    def servers(self) -> tuple[Server, ...]:
        """In the order they start."""
        return (self.postgres, self.redis, self.api, *self.workers)

    def running(self) -> list[Server]:
        return [server for server in self.servers if server.is_running]

    def up(self, progress: Progress) -> DevState:
        """Start what is missing. When that fails or is interrupted, what this call has started is stopped again."""
        with self.home.locked(progress.waiting):
            before = self.running()
            try:
                return self._up(progress)
            except BaseException:
                self._stop([server for server in self.running() if server not in before])
                raise

    def down(self, progress: Progress) -> list[Server]:
        """Stop everything; returns what was running."""
        if not self.home.path.exists():
            return []
        with self.home.locked(progress.waiting):
            return self._down(progress)

    def kill(self) -> None:
        """The impatient `down`. Nothing committed is lost."""
        for server in reversed(self.running()):
            server.kill()
        self.home.dev_json.unlink(missing_ok=True)

    def reset(self, progress: Progress) -> None:
        """Stop everything and delete its data, secrets and logs."""
        if not self.home.path.exists():
            return
        with self.home.locked(progress.waiting):
            self._down(progress)
            with progress.step("Delete") as step:
                delete_data(self.home)
                step.note = str(self.home.path)

    def status(self) -> list[ServerStatus]:
        return [
            ServerStatus(server.name, server.title, server.pid, server.known_port, str(server.log_path))
            for server in self.servers
        ]

    def state(self) -> DevState | None:
        return load_dev_state(self.home)

    @cached_property
    def _secrets(self) -> Secrets:
        return load_secrets(self.home)

    def _up(self, progress: Progress) -> DevState:
        services = (self.api, *self.workers)
        if self._start_stores(progress):
            for service in services:
                if service.is_running:
                    service.stop()  # it was told ports that are no longer theirs
        self._prepare_database(progress)
        fresh = {service.name: service.launch() for service in services}  # they start side by side
        for service in services:
            with progress.step(service.title) as step:
                service.wait_ready()
                place = self.api.base_url if service is self.api else f"probes on 127.0.0.1:{service.port}"
                step.note = _note(service, fresh[service.name], place)
        state = self._describe()
        save_dev_state(self.home, state)
        return state

    def _start_stores(self, progress: Progress) -> bool:
        """True when one of them has moved to another port."""
        stores = (self.postgres, self.redis)
        before = [store.known_port for store in stores]
        with progress.step(f"{self.postgres.title} 16") as step:
            fresh = self.postgres.launch()
            also_fresh = self.redis.launch()  # starts while PostgreSQL does
            self.postgres.wait_ready()
            step.note = _note(self.postgres, fresh, f"127.0.0.1:{self.postgres.port}")
        with progress.step(f"{self.redis.title} {self.redis.version}") as step:
            self.redis.wait_ready()
            step.note = _note(self.redis, also_fresh, f"127.0.0.1:{self.redis.port} ({self.redis.origin})")
        return before != [store.known_port for store in stores]

    def _prepare_database(self, progress: Progress) -> None:
        from copilot_common.platform.migrate import DatabaseUrls
        from copilot_devstack.preparation import prepare  # heavy: argon2, cryptography, the domain

        urls = DatabaseUrls(migration=self._owner_url, app=self._app_url, admin=self.postgres.admin_url)
        with progress.step("Schema") as step:
            prepared = prepare(urls, self._secrets)
            step.note = f"{len(prepared.applied)} migrations applied" if prepared.applied else "up to date"
        if prepared.api_key != self._secrets.api_key:
            self._secrets.api_key = prepared.api_key
            save_secrets(self.home, self._secrets)

    def _down(self, progress: Progress) -> list[Server]:
        running = self.running()
        for server in reversed(running):
            with progress.step(server.title) as step:
                server.stop()
                step.note = "stopped"
        self.home.dev_json.unlink(missing_ok=True)
        return running

    def _stop(self, servers: list[Server]) -> None:
        try:
            for server in reversed(servers):
                server.stop()
        except KeyboardInterrupt:
            for server in servers:
                server.kill()
            raise

    @property
    def _owner_url(self) -> str:
        return self.postgres.url(OWNER, self._secrets.owner_password)

    @property
    def _app_url(self) -> str:
        return self.postgres.url(APP, self._secrets.app_password)

    def _connections(self) -> Mapping[str, str]:
        return {
            "DATABASE_URL": self._app_url,
            "REDIS_URL": self.redis.url,
            "JWT_SECRET": self._secrets.jwt_secret,
            "ENCRYPTION_KEY": self._secrets.encryption_key,
        }

    def _describe(self) -> DevState:
        from copilot_devstack.preparation import ADMIN_EMAIL

        return DevState(
            base_url=self.api.base_url,
            api_key=self._secrets.api_key or "",
            admin_email=ADMIN_EMAIL,
            admin_password=self._secrets.admin_password,
            database_url=self._app_url,
            redis_url=self.redis.url,
            pids={server.name: server.pid for server in self.servers if server.pid is not None},
            ports={server.name: server.port for server in self.servers},
            migration_database_url=self._owner_url,
            admin_database_url=self.postgres.admin_url,
        )


def delete_data(home: Home) -> None:
    outside = noted_data_folder(home.path)
    if outside is not None:
        shutil.rmtree(outside, ignore_errors=True)
    home.delete()


def _note(server: Server, fresh: bool, place: str) -> str:
    return place if fresh else f"{place}, running already (pid {server.pid})"
