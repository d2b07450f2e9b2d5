"""`python -m bench.queueing.worker PATH`: a worker process of ours, as the workflow engine is one, for jobs that do
nothing. When it is stopped it writes to PATH when each of them began."""

import sys
from importlib.metadata import version
from pathlib import Path
from time import time

import msgspec
import uvloop

from bench.queueing.jobs import NOTHING, Nothing
from copilot_common.platform.settings import Settings, load_settings
from copilot_common.queue import WORKFLOW_QUEUE, Job
from copilot_common.queue.process import build_backbone, run_worker

SERVICE = "bench-worker"


class _Starts:
    """The handler, and the companion that writes down what it saw: by number, in epoch seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began: dict[int, float] = {}

    async def __call__(self, job: Job[Nothing]) -> None:
        began = time()
        self._began[job.payload.number] = began

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        self._path.write_bytes(msgspec.msgpack.encode(self._began))


async def _run(settings: Settings, path: Path) -> None:
    starts = _Starts(path)
    backbone = build_backbone(SERVICE, settings, version=version("copilot-common"))
    await run_worker(backbone, WORKFLOW_QUEUE, {NOTHING: starts}, probe_port=0, companions=[starts])


if __name__ == "__main__":
    uvloop.run(_run(load_settings(), Path(sys.argv[1])))
