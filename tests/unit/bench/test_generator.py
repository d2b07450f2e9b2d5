"""The load generator against the provider simulator, over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from bench.load.generator import Generator
from bench.load.job import Job, Target
from bench.words import chat_bodies

from copilot_devstack.simulator.server import Simulator


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await asyncio.start_server(Simulator().serve_connection, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def _target(port: int, model: str, *, stream: bool = True) -> Target:
    bodies = chat_bodies(model, stream=stream, turns=1)
    return Target(host="127.0.0.1", port=port, path="/v1/chat/completions", headers={}, bodies=bodies)


async def test_clients_repeat_their_request_until_the_time_is_over(port: int) -> None:
    job = Job(mode="closed", target=_target(port, "sim", stream=False), clients=2, seconds=0.2, warm_up_seconds=0.1)
    outcome = await Generator(job).run()
    assert outcome.failures == {}
    assert 2 < outcome.completed <= outcome.requests
    assert outcome.per_second == outcome.completed / 0.2
    assert outcome.latency_ms.count == outcome.completed


async def test_each_stream_shows_its_tokens_and_the_gaps_between_them(port: int) -> None:
    target = _target(port, "sim,tokens=4,pace_ms=20")
    outcome = await Generator(Job(mode="once", target=target, clients=3, tokens=4, pace_ms=20)).run()
    assert outcome.completed == 3
    assert outcome.first_token_ms.count == 3
    assert outcome.gap_excess_ms.count == 9
    assert outcome.gap_excess_ms.p50 > -20
    assert outcome.steady_gap_excess_ms.count <= 9


async def test_an_answer_with_too_few_tokens_is_a_failure(port: int) -> None:
    outcome = await Generator(Job(mode="once", target=_target(port, "sim,tokens=2"), clients=1, tokens=3)).run()
    assert outcome.completed == 0
    assert outcome.failures == {"2 tokens instead of 3": 1}


async def test_a_refusal_is_a_failure_with_its_status(port: int) -> None:
    target = _target(port, "sim,fault=status,status=503")
    outcome = await Generator(Job(mode="once", target=target, clients=1)).run()
    assert [failure[:10] for failure in outcome.failures] == ["status 503"]


async def test_a_cut_stream_is_a_failure(port: int) -> None:
    outcome = await Generator(Job(mode="once", target=_target(port, "sim,fault=cut,after=1"), clients=1)).run()
    assert outcome.failures == {"the server closed the connection": 1}


async def test_where_bodies_are_spread_each_client_begins_with_another_and_each_has_its_own_headers() -> None:
    sent: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        caller = head.partition(b"X-Caller: ")[2][:1]
        sent.append(caller + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        target = Target(
            host="127.0.0.1",
            port=port,
            path="/",
            headers={"X-Caller": "0"},
            bodies=list("abcdef"),
            is_spread=True,
            headers_each=[{"X-Caller": "1"}, {"X-Caller": "2"}],
        )
        await Generator(Job(mode="once", target=target, clients=3)).run()
    assert sorted(sent) == [b"1a", b"1e", b"2c"]
