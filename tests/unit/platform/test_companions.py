"""What is done once, beside the start of a worker."""

import asyncio

from loguru import logger

from copilot_common.platform.companions import AtStart


async def test_nothing_waits_for_what_is_done_at_the_start_and_it_ends_with_the_process() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    companion = AtStart("waiting", forever)
    await companion.start()
    await asyncio.sleep(0)  # it has begun
    assert ended == []
    await companion.stop()
    assert ended == ["cancelled"]


async def test_what_fails_at_the_start_is_logged() -> None:
    async def fail() -> None:
        raise LookupError

    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {message} {extra[what]}", level="ERROR", backtrace=False)
    companion = AtStart("looking", fail)
    await companion.start()
    await asyncio.sleep(0)
    await companion.stop()
    logger.remove(sink)
    assert "".join(lines).startswith("ERROR Not done at the start looking\n")
