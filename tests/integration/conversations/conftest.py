from collections.abc import AsyncIterator

import pytest

from integration.conversations.ground import Ground, open_ground
from support.api import Site, shared_api, site, start_api
from support.simulator import simulator

__all__ = ["shared_api", "simulator", "site", "start_api"]


@pytest.fixture
async def ground(site: Site) -> AsyncIterator[Ground]:
    async with open_ground(site) as made:
        yield made
