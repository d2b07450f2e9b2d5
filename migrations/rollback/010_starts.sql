-- Undo 010_starts: every schedule, every trigger and the calls they have taken. Builds made for schema 10 or later stop
-- being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION dispatch.due_schedules(double precision, integer);
DROP FUNCTION dispatch.find_trigger(uuid);
DROP FUNCTION dispatch.prune_trigger_calls(integer);
DROP TABLE workflow_trigger_calls, workflow_triggers, workflow_schedules;
DELETE FROM schema_migrations WHERE version = 10;

COMMIT;
