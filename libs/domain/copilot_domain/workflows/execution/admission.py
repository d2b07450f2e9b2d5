"""Whether a run may go on now, where its workflow lets only so many run at once."""

from copilot_common.encryption import TenantCipher
from copilot_common.queue import Job
from copilot_domain.workflows.concurrency.slots import Admission, RunSlot
from copilot_domain.workflows.definition import Concurrency
from copilot_domain.workflows.execution.kinds import Toolbox
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.execution.place import Places
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.repository import RunRow, encode_value


class Gate:
    """Of one run, under one claim of its job. Without a `rule` it is open."""

    def __init__(
        self,
        toolbox: Toolbox,
        job: Job[AdvanceRun],
        row: RunRow,
        rule: Concurrency | None,
        places: Places,
        cipher: TenantCipher,
    ) -> None:
        self._rule = rule
        self._places = places
        self._cipher = cipher
        self._slot: RunSlot | None = None
        if rule is not None:
            self._slot = RunSlot(toolbox.db, toolbox.ledger, job, row.workflow_id, row.created_at, rule)

    async def enter(self) -> Admission:
        """Raises JobLost; ExpressionFailed where the definition's key comes to nothing with these inputs."""
        if self._slot is None or await patiently(self._slot.is_held):
            return "admitted"
        queue = self._slot.in_queue(self._cipher, await self._key())
        admission = await patiently(queue.ask)
        if admission == "parked":
            await patiently(queue.make_room)
            admission = await patiently(queue.wait)
        return admission

    async def leave(self) -> None:
        """The run has ended. Where this is not reached, the engines' look for lost runs finds out."""
        if self._slot is not None:
            await patiently(self._slot.leave)

    async def _key(self) -> bytes:
        key = self._rule.key if self._rule else None
        return encode_value(None if key is None else await self._places.fill("", key))
