from collections.abc import AsyncIterator

import pytest

from integration.blobs.ground import Ground, open_ground
from support.api import Site, site
from support.simulator import simulator

__all__ = ["simulator", "site"]


@pytest.fixture
async def ground(site: Site) -> AsyncIterator[Ground]:
    async with open_ground(site) as made:
        yield made
