-- name: insert_job
-- A piece of work, in the transaction of the change it belongs to. Nothing where the same is pending already.
INSERT INTO jobs (
    tenant_id, id, queue, kind, class, priority, payload, status, run_after, user_id, api_key_id, dedupe_key,
    max_failures, traceparent
) VALUES (
    %(tenant_id)s, %(id)s, %(queue)s, %(kind)s, %(class)s, %(priority)s, %(payload)s,
    CASE WHEN %(delay_seconds)s::double precision > 0 THEN 'scheduled' ELSE 'pending' END,
    clock_timestamp() + make_interval(secs => %(delay_seconds)s::double precision),
    %(user_id)s, %(api_key_id)s, %(dedupe_key)s, %(max_failures)s, %(traceparent)s
)
ON CONFLICT (tenant_id, dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'scheduled') DO NOTHING
RETURNING id

-- name: hold_job
-- Lock a running job that is still ours: first in a transaction that writes for it.
SELECT id FROM jobs
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND fence = %(fence)s AND status = 'running'
FOR NO KEY UPDATE

-- name: complete_job
-- The end of a job, in the transaction of its effect.
UPDATE jobs
SET status = 'completed', process_id = NULL, ended_at = clock_timestamp(), error_code = NULL, error_text = NULL
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND fence = %(fence)s AND status = 'running'
RETURNING id

-- name: note_progress
-- The job came further: losing its process from here on counts anew.
UPDATE jobs SET lapses = 0
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND fence = %(fence)s AND status = 'running'
RETURNING id

-- name: lock_job
-- A job, whoever runs it, for who sends it a signal or ends it.
SELECT status FROM jobs WHERE tenant_id = %(tenant_id)s AND id = %(id)s FOR NO KEY UPDATE

-- name: park_job
-- Wait: for a time, or (null) for a signal alone. The job is locked and has no unseen signal. What has begun is no longer
-- what a new caller asks for, and another row may hold its dedupe key by now: it gives it up.
UPDATE jobs
SET status = 'scheduled', process_id = NULL, lapses = 0, dedupe_key = NULL,
    run_after = coalesce(
        clock_timestamp() + make_interval(secs => %(delay_seconds)s::double precision), 'infinity'::timestamptz
    )
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND fence = %(fence)s AND status = 'running'

-- name: take_signals
-- The unseen signals of a job, oldest first; seen from now on.
WITH taken AS (
    UPDATE job_signals SET seen_at = clock_timestamp()
    WHERE tenant_id = %(tenant_id)s AND job_id = %(id)s AND seen_at IS NULL
    RETURNING id, name
)
SELECT name FROM taken ORDER BY id

-- name: insert_signal
-- Something happened that a job should know.
INSERT INTO job_signals (tenant_id, id, job_id, name) VALUES (%(tenant_id)s, %(signal_id)s, %(id)s, %(name)s)

-- name: wake_job
-- A parked or future job is due now.
UPDATE jobs SET status = 'pending', run_after = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = 'scheduled'
RETURNING queue

-- name: cancel_waiting_job
-- A job that does not run ends at once.
UPDATE jobs SET status = 'cancelled', process_id = NULL, ended_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status IN ('pending', 'scheduled')
RETURNING id

-- name: redrive_job
-- A dead job begins anew; its fence goes on. That somebody wanted its former life to stop is over.
WITH over AS (
    UPDATE job_signals SET seen_at = clock_timestamp()
    WHERE tenant_id = %(tenant_id)s AND job_id = %(id)s AND seen_at IS NULL AND name = 'cancel'
)
UPDATE jobs
SET status = 'pending', run_after = clock_timestamp(), failures = 0, lapses = 0, error_code = NULL, error_text = NULL,
    ended_at = NULL
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = 'dead'
RETURNING queue

-- name: get_job
-- One job of the tenant.
SELECT id, queue, kind, status, priority, failures, lapses, max_failures, error_code, error_text,
    nullif(run_after, 'infinity') AS run_after, created_at, started_at, ended_at
FROM jobs WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: list_jobs
-- A page, newest first; without a cursor `before` lies after all ids.
SELECT id, queue, kind, status, priority, failures, lapses, max_failures, error_code, error_text,
    nullif(run_after, 'infinity') AS run_after, created_at, started_at, ended_at
FROM jobs
WHERE tenant_id = %(tenant_id)s AND id < %(before)s
    AND (%(queue)s::text IS NULL OR queue = %(queue)s) AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_jobs
-- How many, counted up to a limit.
SELECT count(*)::integer FROM (
    SELECT FROM jobs
    WHERE tenant_id = %(tenant_id)s
        AND (%(queue)s::text IS NULL OR queue = %(queue)s) AND (%(status)s::text IS NULL OR status = %(status)s)
    LIMIT %(count_limit)s
) AS counted

-- name: claim_jobs
-- Due jobs for this process, fairly. `synchronous_commit`: of this statement; null: the session's.
SELECT tenant_id, id, kind, payload, fence, failures, lapses, user_id, api_key_id, role, traceparent, run_after
FROM (
    SELECT set_config(
        'synchronous_commit', coalesce(%(synchronous_commit)s, current_setting('synchronous_commit')), true
    )
) AS durability,
dispatch.claim_jobs(
    %(process_id)s, %(queue)s, %(known)s::text[], %(limit)s, %(running)s, %(tenant_limit)s
)

-- name: complete_jobs
-- The end of many jobs; returns those that were still this process's. `synchronous_commit`: as above.
SELECT completed
FROM (
    SELECT set_config(
        'synchronous_commit', coalesce(%(synchronous_commit)s, current_setting('synchronous_commit')), true
    )
) AS durability,
dispatch.complete_jobs(
    %(process_id)s, %(tenant_ids)s::uuid[], %(ids)s::uuid[], %(fences)s::integer[]
) AS completed

-- name: fail_job
-- A failure; returns the job's new status, null where it is no longer this process's.
SELECT dispatch.fail_job(
    %(process_id)s, %(tenant_id)s, %(id)s, %(fence)s, %(is_final)s, make_interval(secs => %(pause_seconds)s::double precision),
    %(code)s, %(text)s
)

-- name: cancel_running_job
-- The end of a job that was asked to stop.
SELECT dispatch.cancel_job(%(process_id)s, %(tenant_id)s, %(id)s, %(fence)s)

-- name: release_jobs
-- Hand jobs back unfinished.
SELECT dispatch.release_jobs(
    %(process_id)s, %(tenant_ids)s::uuid[], %(ids)s::uuid[], %(fences)s::integer[]
)

-- name: owned_jobs
-- What this process owns.
SELECT tenant_id, id, fence, running_seconds, is_cancelled FROM dispatch.owned_jobs(%(process_id)s)

-- name: sweep_jobs
-- Put back what lapsed, make due what is due; the queues that have work.
SELECT dispatch.sweep_jobs(%(queues)s::text[], %(limit)s)

-- name: queue_depth
-- Due jobs up to a cap, and the oldest one's age.
SELECT due, oldest_due_seconds FROM dispatch.queue_depth(%(queue)s, %(cap)s)

-- name: prune_jobs
-- Delete ended jobs past their age.
SELECT dispatch.prune_jobs(
    make_interval(secs => %(age_seconds)s::double precision), make_interval(secs => %(dead_age_seconds)s::double precision), %(limit)s
)
