-- Undo 003_ledger: the jobs and their signals, WITH ALL WORK THAT HAS NOT ENDED.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION dispatch.claim_jobs, dispatch.complete_jobs, dispatch.fail_job, dispatch.cancel_job, dispatch.release_jobs,
    dispatch.owned_jobs, dispatch.sweep_jobs, dispatch.queue_depth, dispatch.prune_jobs, dispatch.put_back,
    dispatch.role_of, dispatch.tenants_with_work;
DROP TABLE job_signals, job_cursors, jobs;
DELETE FROM schema_migrations WHERE version = 3;

COMMIT;
