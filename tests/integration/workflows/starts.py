"""What the tests of schedules and triggers stand on: the ledger's ground, workflows, members who come and go."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from copilot_common.base.ids import UserId, new_id
from copilot_common.tenancy import Principal
from copilot_domain.pagination import PageRequest
from copilot_domain.workflows.definition import Definition, Step, TransformConfig
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.schedules.service import ScheduleService
from copilot_domain.workflows.schedules.types import NewSchedule, Schedule
from copilot_domain.workflows.schedules.watching import Schedules
from copilot_domain.workflows.versions import Versions
from integration.queue.ground import Ground as QueueGround

NOON = NewSchedule(cron="0 12 * * *", timezone="UTC", inputs={"n": 1}, misfire="skip")
EVERY_MINUTE = NewSchedule(cron="* * * * *", timezone="UTC", inputs={"n": 1}, misfire="skip")
NUMBERS_ONLY: dict[str, object] = {"type": "object", "properties": {"n": {"type": "number"}}}


@dataclass
class Ground:
    queue: QueueGround
    service: ScheduleService = field(default_factory=lambda: ScheduleService(Versions()))

    def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        return self.queue.rows(query, *params)

    async def workflow(self, schema: dict[str, object] | None = None, *, principal: Principal | None = None) -> UUID:
        workflow_id = new_id()
        async with self.queue.db.transaction(principal or self.queue.acme) as tx:
            await WorkflowRepository().insert(tx, workflow_id, definition(schema))
        return workflow_id

    async def change(self, workflow_id: UUID, schema: dict[str, object]) -> None:
        """A second version."""
        async with self.queue.db.transaction(self.queue.acme) as tx:
            await WorkflowRepository().add_version(tx, workflow_id, 2, definition(schema))

    async def schedule(
        self,
        new: NewSchedule = NOON,
        *,
        late: float | None = None,
        workflow_id: UUID | None = None,
        principal: Principal | None = None,
    ) -> UUID:
        """Due `late` seconds ago by the database's clock, where that is given."""
        principal = principal or self.queue.acme
        workflow_id = workflow_id or await self.workflow(principal=principal)
        async with self.queue.db.transaction(principal) as tx:
            made = await self.service.create(tx, workflow_id, new)
        if late is not None:
            self.put(made.id, late)
        return made.id

    def put(self, schedule_id: UUID, late: float) -> None:
        self.rows(
            "UPDATE workflow_schedules SET next_at = now() - make_interval(secs => %s) WHERE id = %s", late, schedule_id
        )

    async def show(self, schedule_id: UUID) -> Schedule:
        query = "SELECT workflow_id FROM workflow_schedules WHERE id = %s"
        workflow_id = self.rows(query, schedule_id)[0][0]
        async with self.queue.db.transaction(self.queue.acme) as tx:
            page = await self.service.list(tx, workflow_id, PageRequest(100))
        return next(each for each in page.items if each.id == schedule_id)

    def engine(self) -> Schedules:
        return Schedules(self.queue.db, self.queue.ledger, Versions(), look_seconds=0.5)

    async def look(self, *, ahead_seconds: float = 0.0) -> None:
        await self.engine().look(ahead=timedelta(seconds=ahead_seconds))

    def runs(self) -> list[tuple[Any, ...]]:
        """Workflow, user and job of each; one job a run."""
        return self.rows(
            "SELECT r.workflow_id, r.user_id, j.status FROM workflow_runs r JOIN jobs j ON j.id = r.job_id"
        )

    def next_in(self, schedule_id: UUID) -> float | None:
        """Seconds from now."""
        query = "SELECT extract(epoch FROM next_at - now())::float FROM workflow_schedules WHERE id = %s"
        found = self.rows(query, schedule_id)[0][0]
        return None if found is None else float(found)

    def member(self, role: str = "member") -> Principal:
        """A new member of acme's."""
        tenant_id, user_id = self.queue.acme.tenant_id, UserId(new_id())
        name = f"u{user_id.hex[-12:]}"
        self.rows(
            "INSERT INTO users (id, email, username, password_hash) VALUES (%s, %s, %s, '')",
            user_id,
            f"{name}@acme.example",
            name,
        )
        self.rows("INSERT INTO memberships (tenant_id, user_id, role) VALUES (%s, %s, %s)", tenant_id, user_id, role)
        return Principal.system(tenant_id, user_id)

    def demote(self, who: Principal, role: str) -> None:
        self.rows("UPDATE memberships SET role = %s WHERE user_id = %s", role, who.user_id)

    def remove(self, who: Principal) -> None:
        self.rows("DELETE FROM memberships WHERE user_id = %s", who.user_id)


def definition(schema: dict[str, object] | None) -> Definition:
    step = Step(id="a", name="a", type="transform", config=TransformConfig(set={"x": "1"}))
    return Definition(name="w", steps=[step], entry_point="a", inputs_schema=schema)
