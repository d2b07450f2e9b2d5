-- Undo 018_plans: claims and turns may read many rows for few again; builds made for schema 18 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

ALTER FUNCTION turn.finish RESET enable_seqscan;
ALTER FUNCTION turn.begin RESET enable_seqscan;
DROP INDEX jobs_alone;
CREATE INDEX jobs_alone ON jobs (queue) WHERE status = 'pending' AND lapses >= 2;
DELETE FROM schema_migrations WHERE version = 18;

COMMIT;
