-- Undo 008_workflows: every workflow and all its versions. Builds made for schema 8 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP TABLE workflow_versions, workflows;
DELETE FROM schema_migrations WHERE version = 8;

COMMIT;
