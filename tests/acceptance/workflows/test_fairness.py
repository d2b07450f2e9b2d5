"""A tenant that starts a run is served soon, whatever others have queued."""

from uuid import UUID

from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.workflows.runs.starting import start_run
from copilot_domain.workflows.runs.types import NewRun
from copilot_domain.workflows.versions import Versions
from support.api import ENCRYPTION_KEY, Site, StartApi
from support.clients import Client, eventually
from support.runs import define, ended, start, transform
from support.workers import Workers

QUEUED = 5_000
SLOTS = 8


async def test_five_thousand_queued_runs_of_one_tenant_let_anothers_first_run_by(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ(job_slots=SLOTS)
    api = start_api(environ)
    async with api.client(site.acme) as acme, api.client(site.other) as other:
        await queue_runs(site, await define(acme, transform("one", x="1")))
        workflow = await define(other, transform("one", x="1"))
        workers(environ)
        await ended_some(acme)
        run = await start(other, workflow)
        await ended(other, run)
    query = """
        SELECT count(*) FROM jobs a, jobs b
        WHERE b.id = (SELECT job_id FROM workflow_runs WHERE id = %s)
            AND a.tenant_id = %s AND a.started_at BETWEEN b.created_at AND b.started_at
    """
    ((before,),) = site.rows(query, run, site.acme.tenant_id)
    assert before <= 2 * SLOTS
    ((left,),) = site.rows("SELECT count(*) FROM jobs WHERE status = 'pending'")
    assert left > QUEUED / 2, "too little was queued: nothing was proved"


async def queue_runs(site: Site, workflow: str) -> None:
    database = Database(site.database.app_url, max_size=1, application_name="tests")
    await database.open()
    db = TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
    principal = Principal.system(TenantId(UUID(site.acme.tenant_id)), UserId(UUID(site.acme.user_id)))
    versions, ledger, new = Versions(), Ledger(lambda _: None), NewRun(workflow_id=UUID(workflow))
    for _ in range(QUEUED // 500):
        async with db.transaction(principal) as tx:
            for _ in range(500):
                await start_run(tx, ledger, versions, new)
    await database.close()


async def ended_some(client: Client) -> None:
    """The engine is at work."""

    async def found() -> bool:
        return bool((await client.get("/workflows/runs?status=completed&limit=1"))["items"])

    await eventually(found, seconds=20, what="the first run of many")
