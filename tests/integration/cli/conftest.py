"""The command line against a database of the test's own."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from copilot_cli.main import build_app
from copilot_devstack.home import Home
from copilot_devstack.worker_server import ContextServiceServer
from support.api import SharedApi, shared_api
from support.simulator import simulator
from support.stack import Database, StackUrls

__all__ = ["shared_api", "simulator"]

ENCRYPTION_KEY = "0123456789abcdef" * 4
JWT_SECRET = "an-integration-test-secret-of-48-characters-xyz"

Environ = dict[str, str]


@dataclass(frozen=True)
class Cli:
    """Runs commands in this process, as a person with `environ` would."""

    environ: Environ

    def run(self, *arguments: str, code: int = 0, stdin: str | None = None, **environ: str) -> Result:
        result = self._invoke(arguments, stdin, self.environ | environ)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def json(self, *arguments: str, code: int = 0, **environ: str) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code, **environ).stdout)

    def _invoke(self, arguments: tuple[str, ...], stdin: str | None, environ: Environ) -> Result:
        # In a thread: asyncio.run here would take pytest-asyncio's loop away from the main one.
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(lambda: CliRunner().invoke(build_app(), arguments, stdin, env=environ)).result()


@pytest.fixture
def new_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Environ], Cli]:
    for name in ("COPILOT_URL", "COPILOT_API_KEY", "DATABASE_URL", "MIGRATION_DATABASE_URL", "ADMIN_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "OPENAI_BASE_URL", "COPILOT_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return lambda environ: Cli({"COPILOT_HOME": str(tmp_path), "COLUMNS": "200", **environ})


@pytest.fixture
def cli(new_cli: Callable[[Environ], Cli], database: Database, redis_url: str) -> Cli:
    """A whole set of settings, for a migrated database."""
    return new_cli(environ_for(database, redis_url))


@pytest.fixture
def blank_cli(new_cli: Callable[[Environ], Cli], blank_database: Database, stack: StackUrls) -> Cli:
    """The same for a database without our schema."""
    return new_cli(environ_for(blank_database, stack.redis_url))


def environ_for(database: Database, redis_url: str) -> Environ:
    return {
        "DATABASE_URL": database.app_url,
        "MIGRATION_DATABASE_URL": database.owner_url,
        "ADMIN_DATABASE_URL": database.admin_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": JWT_SECRET,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
    }


@pytest.fixture
def user_cli(new_cli: Callable[[Environ], Cli], shared_api: SharedApi) -> Cli:
    """A user of a running API whose one provider is the simulator."""
    return new_cli({"COPILOT_URL": shared_api.process.url, "COPILOT_API_KEY": shared_api.site.acme.api_key})


@pytest.fixture(scope="module")
def context_service(shared_api: SharedApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for the tests of a module."""
    home = Home(tmp_path_factory.mktemp("context-service"))
    home.make()
    service = ContextServiceServer(home, environ={}, connections=shared_api.site.environ, ends_with_parent=True)
    service.start()
    yield
    service.stop()
