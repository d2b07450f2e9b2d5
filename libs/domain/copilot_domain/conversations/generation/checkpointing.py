"""Every 2 s the text so far of every running answer goes to PostgreSQL; what comes back is who was asked to stop.

A background answer that grows fast is stored sooner: its readers are shown only so much that is not (`SHOWN_AHEAD`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from time import monotonic

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.base.ids import ProcessId
from copilot_common.encryption import Purpose
from copilot_common.tenancy import TenantDatabase
from copilot_domain.conversations.generation.log import StreamLog
from copilot_domain.conversations.generation.rows import Checkpoint, write_checkpoints
from copilot_domain.conversations.generation.running import RunningGeneration

CHECKPOINT_SECONDS = 2.0
_LOOK_SECONDS = 0.25
_BATCH = 50  # answers per statement: bounds how long the loop is busy sealing, and how long rows are locked


class Checkpointer:
    """`running` is the live collection of this process's generations."""

    def __init__(
        self, db: TenantDatabase, log: StreamLog, running: Iterable[RunningGeneration], process_id: ProcessId
    ) -> None:
        self._db = db
        self._log = log
        self._running = running
        self._process_id = process_id

    async def run_forever(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.checkpoint_due()
            except Exception as error:  # this loop must outlive any one fault: cancel and takeover hang on it
                logger.opt(exception=error).error("Checkpoint failed")

    async def checkpoint_due(self) -> None:
        due_before = monotonic() - CHECKPOINT_SECONDS
        by_tenant: dict[object, list[RunningGeneration]] = defaultdict(list)
        for generation in self._running:
            if generation.checkpointed_at <= due_before or generation.is_far_ahead:
                by_tenant[generation.principal.tenant_id].append(generation)
        for generations in by_tenant.values():
            for batch in _batches(generations, _BATCH):
                try:
                    await self._checkpoint(batch)
                except CopilotError as error:  # one tenant's trouble must not keep the others' text from being kept
                    logger.bind(error_type=type(error).__name__).warning("Checkpoint not written")

    async def _checkpoint(self, generations: list[RunningGeneration]) -> None:
        counts = [len(generation.record) for generation in generations]
        checkpoints = [_checkpoint(generation) for generation in generations]
        async with self._db.transaction(generations[0].principal) as tx:
            results = {row.id: row for row in await write_checkpoints(tx, self._process_id, checkpoints)}
        for generation, count in zip(generations, counts, strict=True):
            generation.checkpointed_at = monotonic()
            row = results.get(generation.message_id)
            if row is None:
                # Being stored in this very moment, or taken over by another process.
                if not generation.is_finishing:
                    generation.lose()
                continue
            generation.checkpointed_events = max(generation.checkpointed_events, count)  # it may have ended meanwhile
            if generation.job is not None:
                self._log.append(generation)  # what waited for this
            if row.cancel_requested:
                generation.stop("cancelled")


def _checkpoint(generation: RunningGeneration) -> Checkpoint:
    """Nothing new since the last one: only asks whether to stop."""
    count = len(generation.record)
    if count == generation.checkpointed_events:
        return Checkpoint(generation.message_id, generation.fence, None, None)
    cipher, message_id = generation.cipher, generation.message_id
    return Checkpoint(
        message_id,
        generation.fence,
        cipher.seal_text(Purpose.MESSAGE_CONTENT, message_id, generation.record.content),
        cipher.seal(Purpose.MESSAGE_EVENTS, message_id, generation.record.boundaries()),
    )


def _batches(generations: Iterable[RunningGeneration], size: int) -> Iterable[list[RunningGeneration]]:
    iterator = iter(generations)
    while batch := list(islice(iterator, size)):
        yield batch
