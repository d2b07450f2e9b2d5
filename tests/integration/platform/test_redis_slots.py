"""What is sent to Redis fits a Cluster: each key has a {hash tag}, and the keys of one call share a slot."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
from prometheus_client import CollectorRegistry

from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.encryption import TenantCipher
from copilot_common.limits import Limit, Limiter, Lockout, RequestLimits
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.redis.cluster import slot_of
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue.arq_adapter import ArqLine
from copilot_common.queue.jobs import CONTEXT_QUEUE, WORKFLOW_QUEUE
from copilot_common.queue.request_line import RequestLine
from copilot_common.tenancy import Principal
from copilot_domain.conversations.generation.log import StreamLog

_ROOT = Path(__file__).parents[3]
_LITERAL = re.compile(r"""f?"((?:copilot|arq):[^"]*)["]""")
_CHANNELS = {"copilot:runs"}  # what is published reaches all nodes
# EVAL is sent with the keys of the EVALSHA that was refused before.
_WITHOUT_KEYS = {"SELECT", "HELLO", "CLIENT", "MULTI", "EXEC", "UNWATCH", "EVAL"}
_END = "{end}"
_LINE = re.compile(r"\S+ \[(?P<db>\d+) (?P<client>\S+)\] (?P<words>.*)", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass
class Stream:
    cipher: TenantCipher
    message_id: UUID
    log_fence: int = 0
    is_shown: asyncio.Event = field(default_factory=asyncio.Event)

    def unlogged(self) -> tuple[int, list[bytes]]:
        return 1, [b'{"type":"message_start"}']

    def publish(self, count: int) -> None:
        self.is_shown.set()


def test_each_key_in_the_code_has_a_hash_tag() -> None:
    found = {
        literal
        for folder in ("libs", "services")
        for path in (_ROOT / folder).rglob("*.py")
        for literal in _LITERAL.findall(path.read_text())
        if ".venv" not in path.parts
    }
    assert len(found) >= 8, "the pattern finds nothing any more"
    assert {literal for literal in found if not re.search(r"\{\{.+\}\}", literal)} == _CHANNELS


async def test_the_keys_of_each_call_share_a_slot(redis_url: str) -> None:
    """All that this product sends, as MONITOR shows it; Redis itself says which of the words are keys."""
    with redis.Redis.from_url(redis_url) as watcher, watcher.monitor() as monitor:
        await _use_everything(redis_url)
        watcher.set(_END, b"")
        sent = list(_calls(_seen(monitor, db=str(watcher.get_connection_kwargs()["db"]))))
        keys = [[key for words in call for key in _keys(watcher, words)] for call in sent]
    assert {words[0] for call in sent for words in call} >= {
        "EVALSHA",
        "DEL",
        "XADD",
        "XRANGE",
        "LPUSH",
        "BRPOP",
        "ZREM",
    }
    assert [key for call in keys for key in call if not re.search(r"\{.+\}", key)] == []
    assert [call for call in keys if len({slot_of(key) for key in call}) > 1] == []
    assert any(len(set(call)) > 1 for call in keys), "no call had several keys: nothing was proved"


def _seen(monitor: Any, *, db: str) -> Iterator[tuple[str, list[str]]]:
    """Connection and words of each command in that database, but for those that scripts send: other tests use others of
    the same server. redis-py's own way of telling the words apart is led astray by the quotes and spaces in sealed
    bytes."""
    while (seen := _LINE.fullmatch(monitor.connection.read_response().decode())) is not None:
        words = [word[1:-1] for word in _WORD.findall(seen["words"])]
        if _END in words and seen["db"] == db:
            return
        if seen["client"] != "lua" and seen["db"] == db:
            yield seen["client"], words


def _calls(commands: Iterable[tuple[str, list[str]]]) -> Iterator[list[list[str]]]:
    """A transaction is one, from what it watches to its end; each other command is one."""
    transactions: dict[str, list[list[str]]] = {}
    for connection, words in commands:
        if words[0] in ("WATCH", "MULTI"):
            transactions.setdefault(connection, [])
        if connection not in transactions:
            yield [words]
            continue
        transactions[connection].append(words)
        if words[0] in ("EXEC", "UNWATCH"):
            yield transactions.pop(connection)


def _keys(client: "redis.Redis", words: list[str]) -> list[str]:
    if words[0] in _WITHOUT_KEYS:
        return []
    try:
        return list(client.execute_command("COMMAND GETKEYS", *words))
    except redis.ResponseError as error:
        if "no key arguments" not in str(error):
            raise
        return []


async def _use_everything(url: str) -> None:
    client = connect_redis(url)
    await _use_limits(Limiter(client, registry=CollectorRegistry()))
    await _use_log(StreamLog(client, ttl_seconds=60))
    line = RequestLine(client)
    await line.ask(CONTEXT_QUEUE, b"question")
    await line.take_questions(CONTEXT_QUEUE, 8)
    await client.aclose(close_connection_pool=True)
    await _use_queue(ArqLine(url))


async def _use_limits(limiter: Limiter) -> None:
    principal = Principal.system(TenantId(new_id()), UserId(new_id()))
    await RequestLimits(limiter, Limit(10, 1_000)).consume(principal)
    lockout = Lockout(limiter)
    await lockout.forgive(await lockout.begin("somebody", "192.0.2.1"))


async def _use_log(log: StreamLog) -> None:
    stream = Stream(TenantCipher(TenantId(new_id()), {1: bytes(range(32))}), new_id())
    log.start()
    log.append(stream, urgent=True)
    async with asyncio.timeout(10):
        await stream.is_shown.wait()
    await log.stop()
    await log.read(stream.cipher, stream.message_id, 0, after=0)
    await log.close(stream.cipher, stream.message_id, 0, after=0)


async def _use_queue(line: ArqLine) -> None:
    """Until a worker has answered the doorbell itself, not only heard of it."""
    rings = asyncio.Queue[None]()
    listening = asyncio.create_task(
        line.listen(WORKFLOW_QUEUE, on_ring=lambda: rings.put_nowait(None), on_connection=lambda _: None)
    )
    await line.ring(WORKFLOW_QUEUE)
    async with asyncio.timeout(10):
        await rings.get()  # by its wake-up
        await rings.get()  # by arq
    await line.ring(WORKFLOW_QUEUE)
    async with asyncio.timeout(10):
        await rings.get()
    await end_tasks([listening])
    await line.aclose()
