"""Items are ingested in a process that does nothing else, which measures itself: what tests hold is not counted."""

import asyncio
import json
import os
import pickle
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from integration.context.ground import open_context
from support.api import Site

_KIB = 1024
_TESTS = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """`grown_bytes`: from after a first document to the most at any time."""

    grown_bytes: int
    largest_child_bytes: int


async def ingest_alone(site: Site, item_ids: list[UUID]) -> Measured:
    """One after the other."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "integration.context.ingesting_alone"),
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        answer, _ = await process.communicate(pickle.dumps((site, item_ids)))
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    return Measured(**json.loads(answer))


async def _ingest(site: Site, item_ids: list[UUID]) -> Measured:
    async with open_context(site) as context:
        # What is loaded once is there.
        await context.add("Words of a first text.")
        assert await context.ingest((await context.add_file(b"Words of a first file.", "first.txt")).id) == "ready"
        _forget_most()
        before = _most_bytes()
        for item_id in item_ids:
            await context.ingest(item_id)
        grown = _most_bytes() - before
    # All children have ended: the kernel knows the largest.
    return Measured(grown, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KIB)


def _forget_most() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5)


def _most_bytes() -> int:
    """Of this process, since `_forget_most`. `ru_maxrss` would tell of what it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * _KIB for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(_ingest(*pickle.load(sys.stdin.buffer))))))
