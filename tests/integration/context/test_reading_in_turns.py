"""Who reads what while background work takes turns."""

import asyncio

import pytest

from copilot_common.platform.background import Turns
from copilot_domain.context.ingestion import reading
from integration.context.ground import open_context
from support.api import Site


async def test_a_small_text_waits_for_its_turn_with_a_child_and_a_file_does_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Turns(1, longest_seconds=600.0)
    monkeypatch.setattr(reading, "turns", lambda: own)
    async with open_context(site) as context:
        note = await context.add("The lighthouse keeper counts ships.", ingest=False)
        file = await context.add_file(b"The harbour master counts boats.", "boats.txt")
        async with own.turn():
            reading_note = asyncio.create_task(context.ingest(note.id))
            assert await context.ingest(file.id) == "ready"
            assert not reading_note.done()
        assert await reading_note == "ready"
        async with asyncio.timeout(10), own.turn():  # and it has left it
            pass
