from collections.abc import AsyncIterator, Iterator

import pytest

from integration.blobs.ground import Ground, open_ground
from support.api import Site, site
from support.object_store import FaultyProxy, ObjectServer, faulty_proxy, object_server
from support.simulator import simulator

__all__ = ["simulator", "site"]


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture(params=["postgres", "s3"])
async def ground(request: pytest.FixtureRequest, site: Site) -> AsyncIterator[Ground]:
    """Both stores, one behaviour."""
    server = request.getfixturevalue("objects") if request.param == "s3" else None
    async with open_ground(site, server.bucket() if server else None) as made:
        yield made


@pytest.fixture
async def in_postgres(site: Site) -> AsyncIterator[Ground]:
    async with open_ground(site) as made:
        yield made


@pytest.fixture
async def in_objects(site: Site, objects: ObjectServer) -> AsyncIterator[Ground]:
    async with open_ground(site, objects.bucket()) as made:
        yield made


@pytest.fixture
async def proxy(objects: ObjectServer) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(objects.url) as made:
        yield made


@pytest.fixture
async def behind_proxy(site: Site, objects: ObjectServer, proxy: FaultyProxy) -> AsyncIterator[Ground]:
    """Its bucket is reached through `proxy`, which can fail."""
    async with open_ground(site, proxy.config(objects.bucket()), direct=objects.bucket()) as made:
        yield made
