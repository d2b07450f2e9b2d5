"""What a kind of step is given, and what it may use."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from copilot_common.blobs import BlobStore
from copilot_common.expressions.evaluator import Evaluator
from copilot_common.expressions.source import Cel
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.egress.client import Egress
from copilot_common.queue import Job, Ledger
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.conversations.generation.searching import Searcher
from copilot_domain.workflows.definition import Step
from copilot_domain.workflows.execution.outcomes import Outcome
from copilot_domain.workflows.execution.place import Places
from copilot_domain.workflows.runs.jobs import AdvanceRun
from copilot_domain.workflows.runs.repository import step_key
from copilot_domain.workflows.state import Path
from copilot_domain.workflows.versions import Versions


@dataclass(frozen=True)
class Toolbox:
    """What steps work with; one per process. `http_hosts`: whom `http.request` may call, `*` for anybody outside."""

    db: TenantDatabase
    ledger: Ledger
    blobs: BlobStore
    versions: Versions
    evaluator: Evaluator
    models: ModelRegistry
    search: Searcher
    egress: Egress
    http_hosts: frozenset[str]


@dataclass(frozen=True)
class StepCall:
    """One attempt at a step. `key` names it wherever it is told of. `begin` writes down that it has begun; with
    `at_most_once` it is not tried again when its process dies from there on."""

    toolbox: Toolbox
    job: Job[AdvanceRun]
    depth: int
    step: Step
    path: Path
    attempt: int
    key: UUID
    places: Places
    begin: Callable[[bool], Awaitable[None]]

    @property
    def idempotency_key(self) -> UUID:
        """The same for all attempts: what one that failed may have done is not to be done again."""
        return step_key(self.job.payload.run_id, self.path, 0)

    @property
    def principal(self) -> Principal:
        return self.job.principal

    async def fill(self, structure: object) -> object:
        return await self.places.fill(self.path, structure)

    async def evaluate(self, *expressions: Cel) -> list[object]:
        return await self.places.evaluate(self.path, expressions)


Kind = Callable[[StepCall], Awaitable[Outcome]]
