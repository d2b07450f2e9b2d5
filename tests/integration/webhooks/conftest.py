from collections.abc import AsyncIterator

import pytest

from integration.webhooks.ground import Ground, open_webhooks
from support.api import site
from support.simulator import simulator
from support.stack import Database

__all__ = ["ground", "simulator", "site"]


@pytest.fixture
async def ground(database: Database) -> AsyncIterator[Ground]:
    async with open_webhooks(database) as made:
        yield made
