"""The beginning of a run: its row and the job that will lead it, in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from copilot_common.base.errors import Conflict, InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.encryption import Purpose
from copilot_common.platform.json_schema import JsonSchema
from copilot_common.queue import Ledger, NewJob
from copilot_common.queue.ledger import job_row
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_common.tenancy.audit import audit_columns
from copilot_domain.webhooks import EventData, publish
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.runs.jobs import ADVANCE_RUN, AdvanceRun
from copilot_domain.workflows.runs.repository import encode_value, sql
from copilot_domain.workflows.runs.types import NewRun, Run
from copilot_domain.workflows.versions import Version, Versions

MAX_INPUT_BYTES = 1024 * 1024
_TRIES = 3  # with a version that was current a moment ago


@dataclass(frozen=True, slots=True)
class Parent:
    """The run whose `workflow` step starts another one; `depth` is its own."""

    run_id: UUID
    depth: int


@dataclass(frozen=True, slots=True)
class _MadeRow:
    created_at: datetime
    has_listeners: bool


@dataclass(frozen=True, slots=True)
class _Made:
    version: Version
    number: int
    row: _MadeRow


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
    run_id, job_id = run_id or new_id(), new_id()
    columns: dict[str, object] = {
        "id": run_id,
        "job_id": job_id,
        "user_id": tx.principal.acting_user,
        "parent_run_id": parent.run_id if parent else None,
        "depth": parent.depth + 1 if parent else 0,
        "forked_from": fork.run_id if fork else None,
        "facts_to_copy": (fork.facts or None) if fork else None,
    }
    made = await _insert(tx, versions, new, run_id, columns)
    job = NewJob(type=ADVANCE_RUN, payload=AdvanceRun(run_id), priority=made.version.definition.priority)
    await ledger.enqueue_last(tx, job, job_id)
    if made.row.has_listeners:
        await publish(tx, ledger, "workflow.started", run_news(new.workflow_id, run_id, made.number))
    return _pending(new, run_id, made.number, made.row.created_at)


async def begin_alone(
    db: TenantDatabase, ledger: Ledger, versions: Versions, principal: Principal, new: NewRun
) -> Run | None:
    """In one round trip, with its audit row, where nothing else is to be written or found out. None where it is: then
    nothing has happened."""
    number = new.version or versions.current(principal.tenant_id, new.workflow_id)
    version = number and versions.known(principal.tenant_id, new.workflow_id, number)
    if not number or not version:
        return None
    try:
        inputs = checked_inputs(version.inputs, new.inputs)
    except InvalidInput:
        return None
    run_id, job_id = new_id(), new_id()
    job = NewJob(type=ADVANCE_RUN, payload=AdvanceRun(run_id), priority=version.definition.priority)
    audit = audit_columns(principal, "run.started", run_id, details={"workflow_id": str(new.workflow_id)})
    params = {
        **audit,
        **job_row(principal, job, job_id),
        "audit_id": audit["id"],
        "run_id": run_id,
        "workflow_id": new.workflow_id,
        "version": number,
        "is_pinned": new.version is not None,
        "inputs_sealed": (await db.cipher(principal)).seal(Purpose.RUN_INPUTS, run_id, inputs),
    }
    row = await db.call(sql["begin_run"], params)
    if row is None or row[0] is None:
        return None
    ledger.ring(job.type.queue)
    return _pending(new, run_id, number, row[0])


async def _insert(tx: Transaction, versions: Versions, new: NewRun, run_id: UUID, columns: dict[str, object]) -> _Made:
    """Of the version that is current in this very statement: first with the one that was when it was last looked up."""
    known = new.version or versions.current(tx.principal.tenant_id, new.workflow_id)
    if known is not None:
        try:
            if (made := await _insert_of(tx, versions, new, known, run_id, columns)) is not None:
                return made
        except InvalidInput:  # the current one may allow it
            if new.version is not None:
                raise
    for _ in range(_TRIES):
        current = await versions.look_up_current(tx, new.workflow_id)
        if (made := await _insert_of(tx, versions, new, current, run_id, columns)) is not None:
            return made
    raise Conflict("The workflow has changed meanwhile; try again.")


async def _insert_of(
    tx: Transaction, versions: Versions, new: NewRun, number: int, run_id: UUID, columns: dict[str, object]
) -> _Made | None:
    """None where that is not the current version, and was not asked for by its number."""
    version = await versions.get(tx, new.workflow_id, number)
    inputs = checked_inputs(version.inputs, new.inputs)
    params = columns | {
        "tenant_id": tx.principal.tenant_id,
        "workflow_id": new.workflow_id,
        "version": number,
        "is_pinned": new.version is not None,
        "inputs_sealed": (await tx.cipher()).seal(Purpose.RUN_INPUTS, run_id, inputs),
    }
    row = await tx.fetch_one(_MadeRow, sql["insert_run"], params)
    return None if row is None else _Made(version, number, row)


def _pending(new: NewRun, run_id: UUID, version: int, created_at: datetime) -> Run:
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
