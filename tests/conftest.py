"""One PostgreSQL and one Redis per test run, started when first needed, gone with the run however it ends.

Under xdist the controller owns them and hands their URLs to the workers; without it, the only process does.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import settings

from copilot_devstack import TemporaryStores
from support.stack import Database, StackUrls, clone_template, create_blank, drop

settings.register_profile("busy", deadline=None)  # no test is about how busy the machine is
settings.load_profile("busy")

_STORES = pytest.StashKey[TemporaryStores]()
_URLS = "copilot_stack_urls"


def shared_stack(config: pytest.Config) -> StackUrls:
    """Started at the first call, which must come from the main thread: the servers end with the thread that starts
    them."""
    handed_over = getattr(config, "workerinput", {}).get(_URLS)
    if handed_over is not None:
        return StackUrls(*handed_over)
    if _STORES not in config.stash:
        stores = TemporaryStores()
        config.stash[_STORES] = stores
        stores.start()
    stores = config.stash[_STORES]
    return StackUrls(stores.postgres.admin_url, stores.redis.url)


def pytest_configure() -> None:
    """A shell's background job has SIGINT ignored, and so would have all that the tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In xdist's controller, before each worker starts."""
    if _may_need_stack(node.config):
        urls = shared_stack(node.config)
        node.workerinput[_URLS] = (urls.admin_url, urls.redis_url)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _STORES in config.stash:
        config.stash[_STORES].close()
        del config.stash[_STORES]


def _may_need_stack(config: pytest.Config) -> bool:
    """Unit tests alone do not; what the command line names is all that is known before collection."""
    unit = Path(__file__).parent / "unit"
    paths = [Path(str(config.invocation_params.dir), argument.split("::")[0]) for argument in config.args]
    return not all(path.resolve().is_relative_to(unit) for path in paths)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> StackUrls:
    return shared_stack(request.config)


@pytest.fixture
def database(stack: StackUrls) -> Iterator[Database]:
    """A migrated database of the test's own."""
    made = clone_template(stack.admin_url)
    yield made
    drop(made, stack.admin_url)


@pytest.fixture
def blank_database(stack: StackUrls) -> Iterator[Database]:
    """A database without our schema."""
    made = create_blank(stack.admin_url)
    yield made
    drop(made, stack.admin_url)


@pytest.fixture
def redis_url(stack: StackUrls) -> str:
    """An empty Redis of the test's own: each worker has a numbered database, emptied before each test."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = stack.redis_url.rpartition("/")[0] + f"/{worker}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def private_stack() -> Iterator[TemporaryStores]:
    """Servers of the test's own, to be stopped, killed and restarted: `.postgres`, `.redis`."""
    with TemporaryStores() as stores:
        yield stores


@pytest.fixture
def private_database(private_stack: TemporaryStores) -> Database:
    """A migrated database on `private_stack`; it goes with it."""
    return clone_template(private_stack.postgres.admin_url)
