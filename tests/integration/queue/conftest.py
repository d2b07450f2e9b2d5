from collections.abc import AsyncIterator

import pytest

from integration.queue.ground import Ground, open_ground
from support.stack import Database


@pytest.fixture
async def ground(database: Database) -> AsyncIterator[Ground]:
    async with open_ground(database) as made:
        yield made
