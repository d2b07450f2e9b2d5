"""What a process tells of the queues while it can't know."""

from unittest.mock import AsyncMock

import pytest
from prometheus_client import CollectorRegistry

from copilot_common.base.errors import Unavailable
from copilot_common.queue import DepthGauges, Dispatcher, QueueDepth, depth


@pytest.mark.parametrize(("told_seconds", "left"), [(3_600.0, 250.0), (0.0, None)])
async def test_what_was_known_is_told_for_a_while(
    monkeypatch: pytest.MonkeyPatch, told_seconds: float, left: float | None
) -> None:
    monkeypatch.setattr(depth, "_TOLD_SECONDS", told_seconds)
    registry = CollectorRegistry()
    asked = AsyncMock(side_effect=[QueueDepth(250, 9.0), Unavailable("away"), QueueDepth(3, 1.0)])
    gauges = DepthGauges(AsyncMock(spec=Dispatcher, depth=asked), registry, ["workflow"])
    seen = []
    for _ in range(3):
        await gauges.refresh()
        seen.append(registry.get_sample_value("queue_depth", {"queue": "workflow"}))
    assert seen == [250.0, left, 3.0]
