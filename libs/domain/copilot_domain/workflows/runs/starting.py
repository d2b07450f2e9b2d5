"""The beginning of a run: its row and the job that will lead it, in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from copilot_common.base.errors import InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.encryption import Purpose
from copilot_common.platform.json_schema import JsonSchema
from copilot_common.queue import Ledger, NewJob
from copilot_common.tenancy import Transaction
from copilot_domain.webhooks import EventData, publish
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.runs.jobs import ADVANCE_RUN, AdvanceRun
from copilot_domain.workflows.runs.repository import encode_value, sql
from copilot_domain.workflows.runs.types import NewRun, Run
from copilot_domain.workflows.versions import Versions

MAX_INPUT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parent:
    """The run whose `workflow` step starts another one; `depth` is its own."""

    run_id: UUID
    depth: int


@dataclass(frozen=True, slots=True)
class Fork:
    """The run that another one begins like; of its recorded facts so many."""

    run_id: UUID
    facts: int


async def start_run(
    tx: Transaction,
    ledger: Ledger,
    versions: Versions,
    new: NewRun,
    *,
    run_id: UUID | None = None,
    parent: Parent | None = None,
    fork: Fork | None = None,
) -> Run:
    """Raises NotFound for the workflow or its version, InvalidInput for inputs that its schema does not allow."""
    current = (await WorkflowRepository().get(tx, new.workflow_id)).current_version
    version = current if new.version is None else new.version
    pinned = await versions.get(tx, new.workflow_id, version)
    inputs = checked_inputs(pinned.inputs, new.inputs)
    run_id = run_id or new_id()
    job_id = await ledger.enqueue(
        tx, NewJob(type=ADVANCE_RUN, payload=AdvanceRun(run_id), priority=pinned.definition.priority)
    )
    params = {
        "tenant_id": tx.principal.tenant_id,
        "id": run_id,
        "workflow_id": new.workflow_id,
        "version": version,
        "job_id": job_id,
        "user_id": tx.principal.acting_user,
        "inputs_sealed": (await tx.cipher()).seal(Purpose.RUN_INPUTS, run_id, inputs),
        "parent_run_id": parent.run_id if parent else None,
        "depth": parent.depth + 1 if parent else 0,
        "forked_from": fork.run_id if fork else None,
        "facts_to_copy": (fork.facts or None) if fork else None,
    }
    created_at = await tx.fetch_value(sql["insert_run"], params)
    if not isinstance(created_at, datetime):
        raise TypeError("insert_run returns a moment")
    await publish(tx, ledger, "workflow.started", run_news(new.workflow_id, run_id, version))
    return Run(
        id=run_id,
        workflow_id=new.workflow_id,
        version=version,
        status="pending",
        current_step=None,
        inputs=new.inputs,
        outputs=None,
        error=None,
        started_at=None,
        completed_at=None,
        created_at=created_at,
    )


def run_news(workflow_id: UUID, run_id: UUID, version: int) -> EventData:
    """What webhooks are told of a run."""
    return {"workflow_id": workflow_id, "run_id": run_id, "version": version}


def checked_inputs(schema: JsonSchema | None, inputs: Json) -> bytes:
    """Encoded. Raises InvalidInput."""
    encoded = encode_value(inputs)
    if len(encoded) > MAX_INPUT_BYTES:
        raise InvalidInput({"inputs": f"must be at most {MAX_INPUT_BYTES} bytes"})
    if schema is not None and (faults := schema.faults(inputs)):
        raise InvalidInput({f"inputs{_joined(path)}": message for path, message in faults})
    return encoded


def _joined(path: str) -> str:
    return path if not path or path.startswith("[") else f".{path}"
