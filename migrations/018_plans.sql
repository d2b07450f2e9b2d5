-- 018_plans: statements that read a few rows go on to do so, whatever was known of the tables when their plans were made.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- In the order in which a claim takes the oldest: without it, the planner walks through all that is pending instead, for
-- there might be one soon. It hardly ever is. By id, where several came together.
DROP INDEX jobs_alone;
CREATE INDEX jobs_alone ON jobs (queue, run_after, id) WHERE status = 'pending' AND lapses >= 2;

-- A plan made while the tables were small may not scan them when they have grown.
ALTER FUNCTION turn.begin SET enable_seqscan = off;
ALTER FUNCTION turn.finish SET enable_seqscan = off;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (18, 'plans', 14);

COMMIT;
