from collections.abc import AsyncIterator

import pytest

from integration.tenants.world import World, open_world
from support.stack import Database


@pytest.fixture
async def world(database: Database, redis_url: str) -> AsyncIterator[World]:
    async with open_world(database, redis_url) as made:
        yield made
