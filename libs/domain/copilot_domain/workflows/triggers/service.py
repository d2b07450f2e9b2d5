"""What a principal does with a workflow's triggers, and what becomes of a call to one.

Threat model of a call, which has no credential but its signature: URLs become known (logs, proxies), calls are recorded
and sent again, bodies are changed on the way, secrets are guessed, and somebody looks for triggers that exist. So the
body is signed with 256 random bits, the signature's timestamp may be 5 minutes away, and an id that was taken starts
nothing again. A trigger that is not there, one whose maker may start no runs any more and a wrong signature read the
same and take the same steps: one look-up and one HMAC of the body. Limits count a call once it is verified, so that who
knows the URL alone cannot use them up.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.base.errors import Conflict, Unauthenticated
from copilot_common.base.ids import new_id
from copilot_common.encryption import Purpose
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, Role, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import Page, PageRequest, page
from copilot_domain.webhooks.signing import new_secret
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.runs.starting import start_run
from copilot_domain.workflows.runs.types import NewRun
from copilot_domain.workflows.triggers.repository import FoundTrigger, TriggerRepository, find_trigger
from copilot_domain.workflows.triggers.signing import is_signed
from copilot_domain.workflows.triggers.types import CreatedTrigger, StartedRun, Trigger, VerifiedCall
from copilot_domain.workflows.versions import Versions

MAX_OF_WORKFLOW = 100
CALLS_KEPT = timedelta(days=3)
"""How long a repeat is known: senders try again for a day or so."""

REFUSAL = "No trigger takes this call: its URL or its signature is wrong, or its timestamp is too old."

_ID_HEADER = "webhook-id"
UrlOf = Callable[[UUID], str]


class TriggerService:
    """Methods that take a transaction are one step of it; the caller commits. `url_of`: where a trigger is called."""

    def __init__(self, db: TenantDatabase, ledger: Ledger, versions: Versions) -> None:
        self._db = db
        self._ledger = ledger
        self._versions = versions
        self._workflows = WorkflowRepository()
        self._triggers = TriggerRepository()
        self._nobodys_secret = new_secret()

    async def create(self, tx: Transaction, workflow_id: UUID, name: str, url_of: UrlOf) -> CreatedTrigger:
        """Raises NotFound, or Conflict where there are as many as there may be."""
        await self._workflows.get(tx, workflow_id, for_update=True)  # it is not deleted meanwhile
        if await self._triggers.count(tx, workflow_id) >= MAX_OF_WORKFLOW:
            message = f"A workflow may have {MAX_OF_WORKFLOW} triggers."
            raise Conflict(message, details={"limit": MAX_OF_WORKFLOW})
        trigger_id, secret = new_id(), new_secret()
        created_at = await self._triggers.insert(tx, trigger_id, workflow_id, name, secret)
        await record_audit(tx, "trigger.created", trigger_id, details={"workflow_id": str(workflow_id)})
        return CreatedTrigger(
            id=trigger_id,
            workflow_id=workflow_id,
            name=name,
            url=url_of(trigger_id),
            is_active=True,
            user_id=tx.principal.acting_user,
            created_at=created_at,
            secret=secret,
        )

    async def list(self, tx: Transaction, workflow_id: UUID, wanted: PageRequest, url_of: UrlOf) -> Page[Trigger]:
        """Newest first. Raises NotFound."""
        before = wanted.position(UUID)
        await self._workflows.get(tx, workflow_id)
        cipher = await tx.cipher()
        rows = await self._triggers.page(tx, workflow_id, before=before, offset=wanted.offset, limit=wanted.fetch)
        return page(
            wanted,
            list(rows),
            key=lambda row: row.id,
            item=lambda row: Trigger(
                id=row.id,
                workflow_id=row.workflow_id,
                name=row.name(cipher),
                url=url_of(row.id),
                is_active=_may_start(row.role),
                user_id=row.user_id,
                created_at=row.created_at,
            ),
            counted=await self._triggers.count(tx, workflow_id),
        )

    async def delete(self, tx: Transaction, workflow_id: UUID, trigger_id: UUID) -> None:
        """What it has started goes on. Raises NotFound."""
        await self._triggers.delete(tx, workflow_id, trigger_id)
        await record_audit(tx, "trigger.deleted", trigger_id, details={"workflow_id": str(workflow_id)})

    async def verify(
        self, trigger_id: UUID, headers: Mapping[str, str], body: bytes, *, address: str | None = None
    ) -> VerifiedCall:
        """`headers` by their names in lower case. Raises Unauthenticated, without saying what is wrong."""
        found = await find_trigger(self._db.database, trigger_id)
        principal = _maker(found, trigger_id, address) if found else None
        secret = self._nobodys_secret
        if found and principal:
            cipher = await self._db.cipher(principal)
            secret = cipher.open_text(Purpose.TRIGGER_SECRET, trigger_id, found.secret_sealed)
        if not is_signed(secret, headers, body) or found is None or principal is None:
            raise Unauthenticated(REFUSAL)
        return VerifiedCall(principal, trigger_id, found.workflow_id, headers[_ID_HEADER])

    async def start(self, tx: Transaction, call: VerifiedCall, inputs: Json) -> StartedRun:
        """As the trigger's maker; of a call with an id that was taken, the run there is. Raises InvalidInput, and
        Unauthenticated where the trigger was deleted just now."""
        run_id = new_id()
        if not await self._triggers.note_call(tx, call, run_id, keep=CALLS_KEPT):
            known = await self._triggers.run_of(tx, call)
            if known is None:
                raise Unauthenticated(REFUSAL)
            return StartedRun(known)
        new = NewRun(workflow_id=call.workflow_id, inputs=inputs)
        await start_run(tx, self._ledger, self._versions, new, run_id=run_id)
        details = {"workflow_id": str(call.workflow_id), "trigger_id": str(call.trigger_id)}
        await record_audit(tx, "run.started", run_id, details={**details})
        return StartedRun(run_id)


def _may_start(role: Role | None) -> bool:
    return role is not None and "workflows" in ROLE_SCOPES[role]


def _maker(found: FoundTrigger, trigger_id: UUID, address: str | None) -> Principal | None:
    """Limits go by the trigger; rights are its maker's, and of those what a run needs. None where they have lost it."""
    if not _may_start(found.role):
        return None
    return Principal(
        kind="system",
        tenant_id=found.tenant_id,
        credential_id=trigger_id,
        user_id=found.user_id,
        role=found.role,
        scopes=frozenset({"workflows"}),
        address=address,
    )
