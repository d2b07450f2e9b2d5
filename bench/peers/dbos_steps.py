"""DBOS on PostgreSQL: workflows of five steps that do nothing, each recorded. A program for the peers' Python, which
knows nothing of this repository. Prints a JSON object.

    single   one workflow after another, in ms each
    rate     so many at once; steps a second
"""

import argparse
import asyncio
import json
import logging
from time import perf_counter, time
from typing import Any

from dbos import DBOS  # type: ignore[import-not-found]  # it is the peers' Python that has it

_STEPS = 5


@DBOS.step()  # type: ignore[untyped-decorator]
async def _step(number: int) -> int:
    return number + 1


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def _workflow(number: int) -> int:
    for _ in range(_STEPS):
        number = await _step(number)
    return number


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    await _run(8)
    if options.command == "single":
        times = []
        for _ in range(options.runs):
            began = perf_counter()
            await _workflow(1)
            times.append((perf_counter() - began) * 1000)
        return {"latencies_ms": times}
    began = time()
    for _ in range(0, options.runs, options.at_once):
        await _run(options.at_once)
    return {"per_second": options.runs * _STEPS / (time() - began)}


async def _run(count: int) -> None:
    await asyncio.gather(*(_workflow(1) for _ in range(count)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["single", "rate"])
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--at-once", type=int, default=32)
    return parser.parse_args()


async def _main(options: argparse.Namespace) -> dict[str, Any]:
    logging.disable(logging.CRITICAL)
    DBOS(config={"name": "bench", "system_database_url": options.database_url, "log_level": "CRITICAL"})
    DBOS.launch()
    try:
        return await _measure(options)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(_options()))))
