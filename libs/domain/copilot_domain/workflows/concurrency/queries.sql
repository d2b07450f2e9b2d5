-- name: lock_queue
-- First in a transaction that gives a slot or takes one back; before any job is locked.
SELECT pg_advisory_xact_lock(hashtextextended(
    'copilot slots ' || %(tenant_id)s::text || %(workflow_id)s::text || encode(%(key_hash)s::bytea, 'hex'), 0))

-- name: own_place
-- A run's place in its queue.
SELECT workflow_id, key_hash, is_held FROM workflow_run_slots
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s

-- name: lends_slot
-- Whether a run stands below one that holds a slot of the same queue: it would wait for itself.
WITH RECURSIVE above AS (
    SELECT r.parent_run_id AS id FROM workflow_runs r WHERE r.tenant_id = %(tenant_id)s AND r.id = %(run_id)s
    UNION ALL
    SELECT r.parent_run_id FROM above a JOIN workflow_runs r ON r.tenant_id = %(tenant_id)s AND r.id = a.id
)
SELECT EXISTS (
    SELECT FROM above a
    JOIN workflow_run_slots s ON s.tenant_id = %(tenant_id)s AND s.run_id = a.id
    WHERE s.workflow_id = %(workflow_id)s AND s.key_hash = %(key_hash)s AND s.is_held
)

-- name: count_before
-- How many others hold a slot or wait for one longer, up to a limit.
SELECT count(*)::integer FROM (
    (
        SELECT FROM workflow_run_slots s
        JOIN workflow_runs r ON r.tenant_id = s.tenant_id AND r.id = s.run_id
        WHERE s.tenant_id = %(tenant_id)s AND s.workflow_id = %(workflow_id)s AND s.key_hash = %(key_hash)s
            AND s.is_held AND s.run_id <> %(run_id)s AND r.status IN ('pending', 'running', 'waiting')
        LIMIT %(slot_limit)s
    ) UNION ALL (
        SELECT FROM workflow_run_slots s
        JOIN workflow_runs r ON r.tenant_id = s.tenant_id AND r.id = s.run_id
        WHERE s.tenant_id = %(tenant_id)s AND s.workflow_id = %(workflow_id)s AND s.key_hash = %(key_hash)s
            AND NOT s.is_held AND (s.created_at, s.run_id) < (%(created_at)s, %(run_id)s) AND r.status IN ('pending', 'running', 'waiting')
        LIMIT %(slot_limit)s
    )
) counted

-- name: join_queue
-- A run that waits for a slot, or has one.
INSERT INTO workflow_run_slots (tenant_id, run_id, workflow_id, key_hash, slot_limit, is_held, created_at)
VALUES (%(tenant_id)s, %(run_id)s, %(workflow_id)s, %(key_hash)s, %(slot_limit)s, %(is_held)s, %(created_at)s)
ON CONFLICT (tenant_id, run_id) DO UPDATE SET is_held = excluded.is_held

-- name: beyond_limit
-- Runs of a queue that are to make room: all but the newest; a bounded batch.
SELECT s.run_id AS id FROM workflow_run_slots s
JOIN workflow_runs r ON r.tenant_id = s.tenant_id AND r.id = s.run_id
WHERE s.tenant_id = %(tenant_id)s AND s.workflow_id = %(workflow_id)s AND s.key_hash = %(key_hash)s
    AND r.status IN ('pending', 'running', 'waiting') AND NOT r.cancel_requested
ORDER BY s.created_at DESC, s.run_id DESC
OFFSET %(slot_limit)s LIMIT %(batch)s

-- name: leave_queue
-- Of a run that has ended, under this job: one that was begun again has another, and its own place.
DELETE FROM workflow_run_slots s USING workflow_runs r
WHERE s.tenant_id = %(tenant_id)s AND s.run_id = %(run_id)s
    AND r.tenant_id = s.tenant_id AND r.id = s.run_id AND r.job_id = %(job_id)s

-- name: next_in_queue
-- The jobs of the runs whose turn it is now: as many as slots are free, oldest first.
SELECT w.job_id AS id FROM (
    SELECT r.job_id, s.slot_limit, row_number() OVER (ORDER BY s.created_at, s.run_id) AS place
    FROM workflow_run_slots s
    JOIN workflow_runs r ON r.tenant_id = s.tenant_id AND r.id = s.run_id
    WHERE s.tenant_id = %(tenant_id)s AND s.workflow_id = %(workflow_id)s AND s.key_hash = %(key_hash)s
        AND NOT s.is_held AND r.status IN ('pending', 'running', 'waiting')
    ORDER BY s.created_at, s.run_id
    LIMIT 1000 -- the most that a limit may be; the leaver's may be another version's
) w
WHERE w.place + (
    SELECT count(*) FROM workflow_run_slots s
    JOIN workflow_runs r ON r.tenant_id = s.tenant_id AND r.id = s.run_id
    WHERE s.tenant_id = %(tenant_id)s AND s.workflow_id = %(workflow_id)s AND s.key_hash = %(key_hash)s
        AND s.is_held AND r.status IN ('pending', 'running', 'waiting')
) <= w.slot_limit
