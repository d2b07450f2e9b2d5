from collections.abc import AsyncIterator

import pytest

from integration.context.ground import ContextGround, open_context
from support.api import Site, site
from support.simulator import simulator

__all__ = ["simulator", "site"]


@pytest.fixture
async def context(site: Site) -> AsyncIterator[ContextGround]:
    async with open_context(site) as made:
        yield made
