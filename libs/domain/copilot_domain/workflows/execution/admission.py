"""Whether a run may go on now, where its workflow lets only so many run at once."""

from copilot_common.encryption import TenantCipher
from copilot_common.expressions.errors import ExpressionFailed
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
        self._toolbox = toolbox
        self._job = job
        self._row = row
        self._rule = rule
        self._places = places
        self._cipher = cipher

    async def enter(self) -> Admission:
        """Raises JobLost; ExpressionFailed where the definition's key comes to nothing with these inputs."""
        if self._rule is None:
            return "admitted"
        slot = await self._slot(self._rule)
        admission = await patiently(slot.ask)
        if admission == "parked":
            await patiently(slot.make_room)
            admission = await patiently(slot.wait)
        return admission

    async def leave(self) -> None:
        """The run has ended. Where this is not reached, the engines' look for lost runs finds out."""
        if self._rule is None:
            return
        try:
            slot = await self._slot(self._rule)
        except ExpressionFailed:
            return  # then it never had one
        await patiently(slot.leave)

    async def _slot(self, rule: Concurrency) -> RunSlot:
        key = encode_value(None if rule.key is None else await self._places.fill("", rule.key))
        toolbox = self._toolbox
        return RunSlot(toolbox.db, toolbox.ledger, self._job, self._row.workflow_id, rule, self._cipher, key)
