from collections.abc import AsyncIterator

import pytest

from support.api import Site, StartApi, shared_api, site, start_api
from support.clients import Client
from support.simulator import simulator
from support.workers import Workers, workers

__all__ = ["shared_api", "simulator", "site", "start_api", "workers"]


@pytest.fixture
async def client(site: Site, start_api: StartApi, workers: Workers) -> AsyncIterator[Client]:
    """Acme's owner, at an API with one workflow engine behind it."""
    environ = site.environ(egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1")
    api = start_api(environ)
    workers(environ)
    async with api.client(site.acme) as client:
        yield client
