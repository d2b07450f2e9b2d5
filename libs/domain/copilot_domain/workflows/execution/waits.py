"""What steps wait for, and whether it has come."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from copilot_common.encryption import Purpose
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.definition import HumanReviewConfig, Step
from copilot_domain.workflows.execution.outcomes import Done, Failed
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.runs.outputs import OutputReader
from copilot_domain.workflows.runs.repository import decode_value, sql
from copilot_domain.workflows.state import Execute


@dataclass(slots=True)
class Waiting:
    """`due`, `started_at`: epoch seconds; `started_event` is that of the row."""

    execute: Execute
    step: Step
    due: float | None
    wake_id: UUID | None
    started_at: float
    started_event: int | None


@dataclass(frozen=True, slots=True)
class _Answer:
    id: UUID
    decision: str
    comment_sealed: bytes | None
    answer_sealed: bytes | None


@dataclass(frozen=True, slots=True)
class Child:
    id: UUID
    status: str
    outputs_of: str | None
    error_code: str | None


class WaitReader:
    """Of one run."""

    def __init__(self, run_id: UUID, outputs: OutputReader) -> None:
        self._run_id = run_id
        self._outputs = outputs

    async def look(self, tx: Transaction, waiting: list[Waiting]) -> tuple[dict[UUID, Done | Failed], list[Child]]:
        """What reviews came to, and which children have ended, by what is waited for."""
        ids = [each.wake_id for each in waiting if each.wake_id is not None]
        if not ids:
            return {}, []
        params = {"tenant_id": tx.principal.tenant_id, "run_id": self._run_id, "ids": ids}
        answers = await tx.fetch_all(_Answer, sql["answered_reviews"], params)
        cipher = await tx.cipher()
        outcomes: dict[UUID, Done | Failed] = {}
        for row in answers:
            comment = row.comment_sealed and cipher.open_text(Purpose.REVIEW_COMMENT, row.id, row.comment_sealed)
            data = row.answer_sealed and decode_value(cipher.open(Purpose.REVIEW_ANSWER, row.id, row.answer_sealed))
            outcomes[row.id] = Done({"decision": row.decision, "comment": comment, "data": data})
        return outcomes, await tx.fetch_all(Child, sql["ended_children"], params)

    async def child_outcome(self, child: Child) -> Done | Failed:
        if child.status != "completed":
            return Failed("CHILD_FAILED", f"The run that this step started is {child.status} ({child.error_code}).")
        if child.outputs_of is None:
            return Done()
        return Done(await run_outputs(self._outputs, child.id, child.outputs_of))


async def run_outputs(reader: OutputReader, run_id: UUID, path: str) -> object:
    """What a run that ended well has given."""
    found = (await patiently(lambda: reader.read(run_id, [path]))).get(path)
    return None if found is None else decode_value(found)


def when_due(waiting: Waiting) -> Done | Failed:
    """Its time is up."""
    match waiting.step.type:
        case "wait":
            return Done()
        case "human_review":
            verdict = cast(HumanReviewConfig, waiting.step.config).on_timeout
            if verdict == "fail":
                return Failed("REVIEW_TIMEOUT", "Nobody answered the review in time.")
            return Done({"decision": verdict, "comment": None, "data": None})
        case _:
            return Failed("STEP_TIMEOUT", f"The step took longer than {waiting.step.timeout_ms} ms.")


def epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
