"""Each image, built by its Dockerfile's own commands, does its work from a root that it does not write to.

What is not executed is shown among the warnings of the run.
"""

import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from copilot_devstack.processes import Process
from support import office_files
from support.api import ENCRYPTION_KEY, JWT_SECRET, PASSWORD, Site, StartApi
from support.background import ask_later, ended_message, ready_item
from support.clients import V1
from support.dockerfiles import IMAGES, Image
from support.image_builds import NOT_EXECUTED, Builder
from support.image_processes import Container, namespaces_can_be_had
from support.runs import outputs_of, transform
from support.stack import Database

API, ENGINE, CONTEXT, TOOLS = IMAGES
SLOW_TO_COMPILE = (API, ENGINE)  # they have the providers' SDKs, most of which nobody loads

Build = Callable[[Image], Container]


class NotExecuted(UserWarning):
    """What an image says that this machine did not do, and why."""


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    # Not below pytest's own folder, where three runs are kept: an image is large.
    with tempfile.TemporaryDirectory(prefix="copilot-images-") as folder:
        yield Builder(Path(folder).resolve())


@pytest.fixture
def build(builder: Builder) -> Iterator[Build]:
    """Builds an image; at the end of the test its files are what they were."""
    built = list[tuple[Container, dict[str, tuple[int, int]]]]()

    def start(image: Image) -> Container:
        container = Container(image, builder.build(image, bytecode=image not in SLOW_TO_COMPILE))
        _tell(container)
        built.append((container, container.files()))
        return container

    yield start
    for container, files in built:
        assert container.files() == files


def _tell(container: Container) -> None:
    lines = [f"{what}: {NOT_EXECUTED[kind]}" for kind, what in container.root.not_executed]
    if not namespaces_can_be_had():
        lines.append("USER, and a read-only root: this machine gives a process no namespaces of its own")
    warnings.warn(NotExecuted("\n  ".join([f"{container.image.target}, not executed:", *lines])), stacklevel=2)


def stop(process: Process) -> int | None:
    """As a kubelet does."""
    process.stop(((signal.SIGTERM, 30.0),))
    return process._child.poll() if process._child else None


async def test_the_api_answers_and_is_healthy_until_it_is_stopped(site: Site, build: Build) -> None:
    container = build(API)
    with container.api(site.environ()) as api:
        async with api.client(site.acme) as client:
            answer = await client.ask(await client.conversation(), "Hello?")
            health = (await client.http.get(f"{api.url}/health")).json()
        assert answer.status_code == 201, answer.text
        assert health["status"] == "healthy"
        port = api.environ["PORT"]
        assert container.is_healthy(PORT=port)
        assert stop(api.process) == 0
        assert not container.is_healthy(PORT=port)


async def test_the_workflow_engine_answers_later_and_runs_workflows(
    site: Site, start_api: StartApi, build: Build
) -> None:
    container = build(ENGINE)
    with container.worker(site.environ()) as engine:
        async with start_api(site.environ()).client(site.acme) as client:
            conversation = await client.conversation()
            answer = await ended_message(client, conversation, await ask_later(client, conversation))
            assert answer["status"] == "completed"
            assert await outputs_of(client, transform("add", sum="1 + 1")) == {"sum": 2}
        assert container.is_healthy(PROBE_PORT=str(engine.port))
        assert stop(engine.process) == 0
        assert not container.is_healthy(PROBE_PORT=str(engine.port))


async def test_the_context_service_reads_documents_and_finds_them_by_meaning(
    site: Site, start_api: StartApi, build: Build
) -> None:
    """Which takes its children, its tokenizer and its model, none of them fetched."""
    container = build(CONTEXT)
    with container.worker(site.environ()) as service:
        async with start_api(site.environ()).client(site.acme) as client:
            files = [("file", (name, data, "application/octet-stream")) for name, data in _documents().items()]
            answer = await client.http.post(f"{V1}/context/files", files=files)
            assert answer.status_code == 201, answer.text
            items = [await ready_item(client, item["id"], seconds=60) for item in answer.json()]
            assert {item["name"]: item["status"] for item in items} == dict.fromkeys(_documents(), "ready")
            found = await client.call("POST", "/context/search", {"query": "ships at sea", "mode": "vector"})
            assert found.json()["results"], found.text
        assert container.is_healthy(PROBE_PORT=str(service.port))
        assert stop(service.process) == 0
        assert not container.is_healthy(PROBE_PORT=str(service.port))


def test_the_tools_migrate_found_and_examine_an_installation(
    blank_database: Database, redis_url: str, build: Build
) -> None:
    container = build(TOOLS)
    environ = {
        "ADMIN_DATABASE_URL": blank_database.admin_url,
        "MIGRATION_DATABASE_URL": blank_database.owner_url,
        "DATABASE_URL": blank_database.app_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": JWT_SECRET,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
        "ANTHROPIC_API_KEY": "sk-ant-of-tests",  # whose SDK is not in this image
        "COPILOT_PASSWORD": PASSWORD,
    }
    run = partial(_succeeds, container, environ)
    run("migrate up")
    run("migrate status")
    run("bootstrap --email ada@example.com")
    assert "not installed here: anthropic" in run("doctor")
    run("migrate down --to 0 --yes")
    assert run("--version") == f"{version('copilot-cli')}\n"


def _documents() -> dict[str, bytes]:
    return {"report.docx": office_files.word(), "book.pdf": office_files.pdf(), "note.txt": b"The harbour at night."}


def _succeeds(container: Container, environ: dict[str, str], arguments: str) -> str:
    done = container.run("copilot", *arguments.split(), **environ)
    assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
    return done.stdout
