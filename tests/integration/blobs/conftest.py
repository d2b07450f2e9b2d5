from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from copilot_common.blobs.bucket import BucketConfig
from integration.blobs.ground import Ground, open_ground
from support.api import Site, make_site, site
from support.object_store import FaultyProxy, ObjectServer, faulty_proxy, object_server
from support.simulator import SimulatorHandle, simulator
from support.stack import StackUrls, clone_template, drop

__all__ = ["simulator", "site"]


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_site(stack: StackUrls, simulator: SimulatorHandle) -> Iterator[Site]:
    database = clone_template(stack.admin_url)
    yield make_site(database, stack.redis_url, simulator)
    drop(database, stack.admin_url)


@pytest.fixture
def blob_site(shared_site: Site) -> Site:
    """Two tenants without blobs. Emptied, because a database of its own would take most of a test's time."""
    with psycopg.connect(shared_site.database.admin_url, autocommit=True) as admin:
        admin.execute("TRUNCATE blobs, blob_pieces, blob_removals")
    return shared_site


@pytest.fixture(params=["postgres", "s3"])
async def ground(request: pytest.FixtureRequest, blob_site: Site) -> AsyncIterator[Ground]:
    """Both stores, one behaviour."""
    server = request.getfixturevalue("objects") if request.param == "s3" else None
    async with open_ground(blob_site, server.bucket() if server else None) as made:
        yield made


@pytest.fixture
async def in_postgres(blob_site: Site) -> AsyncIterator[Ground]:
    async with open_ground(blob_site) as made:
        yield made


@pytest.fixture
async def in_objects(blob_site: Site, objects: ObjectServer) -> AsyncIterator[Ground]:
    async with open_ground(blob_site, objects.bucket()) as made:
        yield made


@pytest.fixture
async def proxy(objects: ObjectServer) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(objects.url) as made:
        yield made


@pytest.fixture
def bucket(objects: ObjectServer, proxy: FaultyProxy) -> BucketConfig:
    """Reached through `proxy`, which can fail."""
    return proxy.config(objects.bucket())


@pytest.fixture
async def behind_proxy(blob_site: Site, objects: ObjectServer, bucket: BucketConfig) -> AsyncIterator[Ground]:
    async with open_ground(blob_site, bucket, direct=objects.bucket()) as made:
        yield made
