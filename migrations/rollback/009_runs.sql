-- Undo 009_runs: every run and all it has done. Builds made for schema 9 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION
    dispatch.fail_abandoned_runs(integer), dispatch.cancel_orphaned_runs(integer), dispatch.wake_runs_for_slots(integer);
REVOKE INSERT ON job_signals FROM copilot_dispatch;
DROP SCHEMA run CASCADE;
DROP TABLE workflow_run_slots, workflow_reviews, workflow_steps, workflow_runs;
DELETE FROM schema_migrations WHERE version = 9;

COMMIT;
