"""Redis over TLS: verified against a certificate authority of one's own, and refused where it is another's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from copilot_cli.checks.redis import check_redis
from copilot_common.platform.redis import connect_redis, name_fault
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue.arq_adapter import ArqLine
from copilot_common.queue.jobs import WORKFLOW_QUEUE
from support.api import Site, StartApi, make_site, start_api
from support.clients import Client, eventually
from support.redis_servers import (
    Certificates,
    RedisServer,
    RedisServers,
    make_certificates,
    make_cluster,
    redis_servers,
    wait_ready,
)
from support.redis_traffic import felt
from support.simulator import SimulatorHandle
from support.stack import StackUrls, clone_template, drop

__all__ = ["start_api"]

LOCAL = "Rate limits are local: Redis is away"


@pytest.fixture(scope="module")
def servers() -> Iterator[RedisServers]:
    with redis_servers() as started:
        yield started


@pytest.fixture(scope="module")
def certificates(servers: RedisServers) -> Certificates:
    return make_certificates(servers)


@pytest.fixture(scope="module")
def server(servers: RedisServers, certificates: Certificates) -> RedisServer:
    started = servers.start(tls=certificates)
    wait_ready(started)
    return started


@pytest.fixture
def site(stack: StackUrls, simulator: SimulatorHandle, server: RedisServer) -> Iterator[Site]:
    database = clone_template(stack.admin_url)
    yield make_site(database, f"rediss://127.0.0.1:{server.port}", simulator)
    drop(database, stack.admin_url)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    client = connect_redis(url)
    try:
        yield client
    finally:
        await client.aclose(close_connection_pool=True)


async def patiently(call: Callable[[], Awaitable[object]]) -> object:
    """Half a second may be too little on a busy machine; what goes wrong for long is not that."""
    for _ in range(20):
        try:
            return await call()
        except (RedisError, TimeoutError):
            await asyncio.sleep(0.2)
    return await call()


async def test_a_service_trusts_its_authority_and_says_why_it_does_not_trust_another(
    site: Site, servers: RedisServers, certificates: Certificates, start_api: StartApi
) -> None:
    other = make_certificates(servers).authority
    right, wrong = (
        start_api(site.environ(redis_url=f"{site.redis_url}?ssl_ca_certs={authority}"))
        for authority in (certificates.authority, other)
    )
    async with right.client(site.acme) as client, wrong.client(site.acme) as without:
        await eventually(lambda: cache_is("healthy", client))
        assert await cache_is("degraded", without)
        for each in (client, without):
            await each.get("/models")  # limits are local, and it serves
    assert not [fault for fault in felt(right, LOCAL) if fault.startswith("SSL")]
    assert any(fault.startswith("SSLCertVerificationError: ") for fault in felt(wrong, LOCAL))


async def cache_is(state: str, client: Client) -> bool:
    return bool((await client.http.get("/health")).json()["components"]["cache"] == state)


async def test_doorbells_ring_over_tls(server: RedisServer, certificates: Certificates) -> None:
    line = ArqLine(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={certificates.authority}")
    rung = asyncio.Event()
    listening = asyncio.create_task(
        line.listen(WORKFLOW_QUEUE, on_ring=rung.set, on_connection=lambda is_connected: None)
    )
    await patiently(lambda: line.ring(WORKFLOW_QUEUE))
    async with asyncio.timeout(10):
        await rung.wait()
    await end_tasks([listening])
    await line.aclose()


async def test_a_certificate_for_another_host_is_refused_unless_names_are_not_checked(servers: RedisServers) -> None:
    certificates = make_certificates(servers, name="192.0.2.1")
    started = servers.start(tls=certificates)
    wait_ready(started)
    url = f"rediss://127.0.0.1:{started.port}?ssl_ca_certs={certificates.authority}"
    async with connected(url) as client, connected(f"{url}&ssl_check_hostname=false") as lenient:

        async def reason() -> bool:
            with pytest.raises(RedisError) as refused:
                await client.ping()
            return "IP address mismatch" in name_fault(refused.value)

        await eventually(reason)
        assert await patiently(lenient.ping)


async def test_the_doctor_names_the_reason(server: RedisServer) -> None:
    async def named() -> bool:
        (check,) = await check_redis(f"rediss://127.0.0.1:{server.port}")
        return "SSLCertVerificationError" in check.finding

    await eventually(named)


async def test_a_cluster_is_reached_over_tls(servers: RedisServers, certificates: Certificates) -> None:
    cluster = make_cluster(servers, tls=certificates)
    async with connected(f"rediss+cluster://{cluster.hosts}?ssl_ca_certs={certificates.authority}") as client:
        assert await patiently(client.ping)
        pipeline = client.pipeline(transaction=False)
        for number in range(20):
            pipeline.set(f"copilot:{{{number}}}", number)
            pipeline.get(f"copilot:{{{number}}}")
        assert await pipeline.execute() == [answer for number in range(20) for answer in (True, b"%d" % number)]
    async with connected(f"rediss+cluster://{cluster.hosts}") as stranger:
        with pytest.raises(RedisConnectionError):
            await stranger.get("copilot:{1}")
