"""Steps that wait: for a time, for a person, for another run."""

import math
from datetime import UTC, datetime, timedelta
from time import time
from typing import cast

from copilot_common.encryption import Purpose
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.definition import HumanReviewConfig, Json, WaitConfig, WorkflowConfig
from copilot_domain.workflows.execution.kinds.base import StepCall
from copilot_domain.workflows.execution.outcomes import Done, Failed, Outcome, Waits
from copilot_domain.workflows.runs.repository import encode_value, sql
from copilot_domain.workflows.runs.starting import Parent, start_run
from copilot_domain.workflows.runs.types import NewRun

_LONGEST_WAIT = timedelta(days=366)
MAX_DEPTH = 8
"""Of runs that start runs."""


async def wait(call: StepCall) -> Outcome:
    config = cast(WaitConfig, call.step.config)
    given = await call.fill({"seconds": config.seconds, "until": config.until})
    seconds, until = cast(dict[str, object], given).values()
    now = time()
    due = _moment(until) if until is not None else _after(now, seconds)
    if due is None:
        return Failed("NOT_A_TIME", "A wait takes seconds that are not negative, or a moment as RFC 3339 writes it.")
    if due > now + _LONGEST_WAIT.total_seconds():
        return Failed("TOO_LONG", f"A step waits for {_LONGEST_WAIT.days} days at most.")
    return Waits(due) if due > now else Done()


async def human_review(call: StepCall) -> Outcome:
    config = cast(HumanReviewConfig, call.step.config)
    filled = cast(Json, await call.fill({"prompt": config.prompt, "data": config.data}))
    review_id, due = call.key, None if config.timeout_ms is None else time() + config.timeout_ms / 1000

    async def insert(tx: Transaction, event: int) -> None:
        cipher = await tx.cipher()
        data = filled["data"]
        params = {
            "tenant_id": call.job.tenant_id,
            "id": review_id,
            "run_id": call.job.payload.run_id,
            "path": call.path,
            "attempt": call.attempt,
            "event": event,
            "prompt_sealed": cipher.seal_text(Purpose.REVIEW_PROMPT, review_id, str(filled["prompt"])),
            "data_sealed": data and cipher.seal(Purpose.REVIEW_DATA, review_id, encode_value(data)),
            "due_at": None if due is None else datetime.fromtimestamp(due, UTC),
        }
        await tx.execute(sql["insert_review"], params)

    return Waits(due, review_id, insert)


async def workflow(call: StepCall) -> Outcome:
    """Another run, which begins in the transaction in which this step begins to wait for it."""
    config = cast(WorkflowConfig, call.step.config)
    if call.depth >= MAX_DEPTH:
        return Failed("TOO_DEEP", f"Runs start runs {MAX_DEPTH} levels deep at most.")
    inputs = cast(Json, await call.fill(config.inputs))
    new, run_id = NewRun(workflow_id=config.workflow_id, inputs=inputs), call.key
    parent = Parent(call.job.payload.run_id, call.depth)

    async def start(tx: Transaction, _: int) -> None:
        key = {"tenant_id": call.job.tenant_id, "id": run_id}
        if await tx.fetch_value(sql["job_of_run"], key) is None:  # else it is there, and the answer to that was lost
            await start_run(tx, call.toolbox.ledger, call.toolbox.versions, new, run_id=run_id, parent=parent)

    due = None if call.step.timeout_ms is None else time() + call.step.timeout_ms / 1000
    return Waits(due, run_id, start)


def _after(now: float, seconds: object) -> float | None:
    try:
        number = float(cast(float, seconds))
    except (TypeError, ValueError):
        return None
    return now + number if math.isfinite(number) and number >= 0 else None


def _moment(until: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(until))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
