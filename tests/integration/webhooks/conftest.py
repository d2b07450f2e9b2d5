from collections.abc import AsyncIterator

import pytest

from integration.webhooks.ground import Ground, open_webhooks
from support.stack import Database


@pytest.fixture
async def ground(database: Database) -> AsyncIterator[Ground]:
    async with open_webhooks(database) as made:
        yield made
