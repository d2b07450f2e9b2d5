from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

import pytest

from copilot_common.platform.sandbox.limits import Limits
from copilot_common.platform.sandbox.pool import Sandbox
from support.api import site
from support.children import children
from support.simulator import simulator

__all__ = ["simulator", "site"]

ENTRY: Final = "support.sandboxed:run"
STREAM_ENTRY: Final = "support.sandboxed:stream"
LIMITS: Final = Limits(memory_bytes=64 * 2**20, wall_seconds=20.0, cpu_seconds=20, open_files=0, output_bytes=2**20)

Make = Callable[..., Awaitable[Sandbox]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Sandboxes that are stopped at the end, and whose children are then gone."""
    async with AsyncExitStack() as stack:

        async def make(entry: str = ENTRY, *, size: int = 1, **options: float) -> Sandbox:
            own = {name: options.pop(name) for name in ("max_waiting", "wait_seconds") if name in options}
            sandbox = Sandbox(entry, size=size, limits=replace(LIMITS, **options), **own)  # type: ignore[arg-type]  # by name
            await sandbox.start()
            stack.push_async_callback(sandbox.stop)
            return sandbox

        yield make
    assert not children()
