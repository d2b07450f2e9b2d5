"""Stock arq on one Redis: a worker process of its own and a producer, jobs that do nothing. A program for the peers'
Python, which knows nothing of this repository. Prints a JSON object; empties the Redis database that it is given.

    idle   one job at a time; from the acknowledged enqueue to the start of the function, in ms each
    rate   many jobs, enqueued in batches; from the first enqueue to the last end
"""

import argparse
import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Awaitable
from time import time
from typing import Any, cast

from arq import Worker, create_pool, func
from arq.connections import ArqRedis, RedisSettings

_STARTS = "bench:starts"
_BATCH = 100
_LIMIT_SECONDS = 60


async def _note(context: dict[Any, Any], number: int) -> None:
    began = time()
    await context["redis"].rpush(_STARTS, json.dumps([number, began]))


class _Counter:
    """A job that says only when it was the last of so many."""

    def __init__(self) -> None:
        self._jobs = 0

    async def __call__(self, context: dict[Any, Any], total: int) -> None:
        self._jobs += 1
        if self._jobs == total:
            self._jobs = 0
            await context["redis"].rpush(_STARTS, json.dumps([total, time()]))


async def _work(options: argparse.Namespace) -> None:
    logging.disable(logging.CRITICAL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    counter = _Counter()

    async def count(context: dict[Any, Any], total: int) -> None:
        await counter(context, total)

    worker = Worker(
        [func(cast(Any, _note), name="note"), func(cast(Any, count), name="count")],
        redis_settings=RedisSettings.from_dsn(options.redis_url),
        poll_delay=options.poll_ms / 1000,
        max_jobs=options.max_jobs,
        keep_result=options.keep_result_s,
    )
    await worker.async_run()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    pool = await create_pool(RedisSettings.from_dsn(options.redis_url))
    await pool.flushdb()
    worker = _start_worker()
    try:
        await _warm_up(pool)
        return await (_idle(pool, options) if options.command == "idle" else _rate(pool, options))
    finally:
        worker.terminate()
        worker.wait()
        await pool.aclose()


def _start_worker() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, __file__, "work", *sys.argv[2:]], stdin=subprocess.PIPE)


async def _warm_up(pool: ArqRedis) -> None:
    """Until the worker runs."""
    await pool.enqueue_job("note", -1)
    await _take(pool)
    await pool.enqueue_job("note", -1)
    await _take(pool)


async def _idle(pool: ArqRedis, options: argparse.Namespace) -> dict[str, Any]:
    latencies_ms = []
    for number in range(options.jobs):
        # Over a whole poll: else each job would come at the same moment of it, right after the last one.
        await asyncio.sleep(random.uniform(options.pause_ms, 2 * options.pause_ms + options.poll_ms) / 1000)
        await pool.enqueue_job("note", number)
        asked = time()
        _, began = await _take(pool)
        latencies_ms.append(max(0.0, began - asked) * 1000)
    return {"latencies_ms": latencies_ms}


async def _rate(pool: ArqRedis, options: argparse.Namespace) -> dict[str, Any]:
    began = time()
    for _ in range(0, options.jobs, _BATCH):
        await asyncio.gather(*[pool.enqueue_job("count", options.jobs) for _ in range(_BATCH)])
    _, ended = await _take(pool)
    return {"per_second": options.jobs / (ended - began)}


async def _take(pool: ArqRedis) -> tuple[int, float]:
    found = await cast(Awaitable[list[bytes] | None], pool.blpop([_STARTS], timeout=_LIMIT_SECONDS))
    if found is None:
        sys.exit("arq has not run its jobs")
    number, moment = json.loads(found[1])
    return number, moment


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["idle", "rate", "work"])
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--jobs", type=int, default=0, help="for a rate a multiple of the batch, 100")
    parser.add_argument("--poll-ms", type=float, default=500, help="arq's default")
    parser.add_argument("--max-jobs", type=int, default=10, help="arq's default")
    parser.add_argument("--keep-result-s", type=int, default=3600, help="arq's default")
    parser.add_argument("--pause-ms", type=float, default=30, help="between jobs: this to twice this and a poll")
    return parser.parse_args()


def main() -> None:
    options = _options()
    if options.command == "work":
        asyncio.run(_work(options))
    else:
        print(json.dumps(asyncio.run(_measure(options))))


if __name__ == "__main__":
    main()
