-- name: insert_run
-- A run that waits for its job; nothing where its workflow is deleted, or its version was not asked for by number and is not
-- the current one. With when it was made, and whether somebody wants to be told.
INSERT INTO workflow_runs (
    tenant_id, id, workflow_id, version, job_id, user_id, inputs_sealed, parent_run_id, depth, forked_from, facts_to_copy
)
SELECT
    %(tenant_id)s::uuid, %(id)s::uuid, w.id, %(version)s::integer, %(job_id)s::uuid, %(user_id)s::uuid,
    %(inputs_sealed)s::bytea, %(parent_run_id)s::uuid, %(depth)s::smallint, %(forked_from)s::uuid,
    %(facts_to_copy)s::integer
FROM workflows w
WHERE w.tenant_id = %(tenant_id)s AND w.id = %(workflow_id)s AND w.deleted_at IS NULL
    AND (%(is_pinned)s OR w.current_version = %(version)s)
RETURNING created_at, turn.has_listeners(%(tenant_id)s, 'workflow.started') AS has_listeners

-- name: begin_run
-- A run with its job and its audit row; null where it cannot be as simple as that.
SELECT run.begin(
    p_tenant => %(tenant_id)s, p_user => %(user_id)s, p_workflow => %(workflow_id)s, p_version => %(version)s,
    p_is_pinned => %(is_pinned)s, p_run => %(run_id)s, p_inputs => %(inputs_sealed)s,
    p_job => %(id)s, p_queue => %(queue)s, p_kind => %(kind)s, p_class => %(class)s, p_priority => %(priority)s,
    p_payload => %(payload)s, p_api_key => %(api_key_id)s, p_max_failures => %(max_failures)s,
    p_traceparent => %(traceparent)s,
    p_audit => %(audit_id)s, p_actor_type => %(actor_type)s, p_actor => %(actor_id)s, p_address => %(address)s,
    p_details => %(details)s
)

-- name: get_run
-- One run.
SELECT id, workflow_id, version, status, current_step, inputs_sealed, outputs_of, error_step, error_code, error_sealed,
    event_count, job_id, cancel_requested, parent_run_id, depth, fact_count, forked_from, facts_to_copy,
    started_at, completed_at, created_at
FROM workflow_runs
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: lock_run
-- As get_run; nobody else changes it until the transaction ends.
SELECT id, workflow_id, version, status, current_step, inputs_sealed, outputs_of, error_step, error_code, error_sealed,
    event_count, job_id, cancel_requested, parent_run_id, depth, fact_count, forked_from, facts_to_copy,
    started_at, completed_at, created_at
FROM workflow_runs
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
FOR NO KEY UPDATE

-- name: list_runs
-- Newest first.
SELECT id, workflow_id, version, status, current_step, inputs_sealed, outputs_of, error_step, error_code, error_sealed,
    event_count, job_id, cancel_requested, parent_run_id, depth, fact_count, forked_from, facts_to_copy,
    started_at, completed_at, created_at
FROM workflow_runs
WHERE tenant_id = %(tenant_id)s AND id < %(before)s
    AND (%(workflow_id)s::uuid IS NULL OR workflow_id = %(workflow_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_runs
-- How many there are, up to a limit.
SELECT count(*)::integer FROM (
    SELECT FROM workflow_runs
    WHERE tenant_id = %(tenant_id)s
        AND (%(workflow_id)s::uuid IS NULL OR workflow_id = %(workflow_id)s)
        AND (%(status)s::text IS NULL OR status = %(status)s)
    LIMIT %(count_limit)s
) counted

-- name: history
-- What has been recorded of a run's steps, in the order of what happened; what has not ended is last.
SELECT path, attempt, step_id, type, status, fact, fact_at, decision, error_code, error_sealed, is_retryable, due_at,
    wake_id, started_event, ended_event, started_at
FROM workflow_steps
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s
ORDER BY fact NULLS LAST, started_at

-- name: outputs
-- Outputs of steps, by path: of each its newest attempt that has one.
SELECT DISTINCT ON (path) path, attempt, output_sealed, output_blob
FROM workflow_steps
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND path = ANY (%(paths)s) AND status = 'completed'
ORDER BY path, attempt DESC

-- name: open_run
-- A run that is about to be led, under the lock of its job.
SELECT id, workflow_id, version, status, current_step, inputs_sealed, outputs_of, error_step, error_code, error_sealed,
    event_count, job_id, cancel_requested, parent_run_id, depth, fact_count, forked_from, facts_to_copy,
    started_at, completed_at, created_at
FROM run.open(%(tenant_id)s, %(user_id)s, %(job_id)s, %(fence)s, %(run_id)s)

-- name: record
-- What has become of some steps of a run, and of the run; false where its job is not this fence's any more.
SELECT run.record(
    %(tenant_id)s, %(user_id)s, %(job_id)s, %(fence)s, %(run_id)s, %(path)s::text[], %(attempt)s::integer[],
    %(step_id)s::text[], %(type)s::text[], %(iteration)s::integer[], %(step_status)s::text[], %(fact)s::integer[],
    %(fact_at)s::double precision[], %(decision)s::text[], %(output)s::bytea[], %(blob)s::uuid[],
    %(step_error_code)s::text[], %(error)s::bytea[], %(retryable)s::boolean[], %(due_at)s::timestamptz[],
    %(wake_id)s::uuid[], %(usage)s::jsonb[], %(started_event)s::integer[], %(ended_event)s::integer[],
    %(started_at)s::timestamptz[], %(completed_at)s::timestamptz[], %(status)s, %(current_step)s, %(event_count)s,
    %(fact_count)s, %(outputs_of)s, %(error_step)s, %(error_code)s, %(error_sealed)s, %(is_alone)s
)

-- name: record_one
-- As record, of one step.
SELECT run.record_one(
    %(tenant_id)s, %(user_id)s, %(job_id)s, %(fence)s, %(run_id)s, %(path)s, %(attempt)s, %(step_id)s, %(type)s,
    %(iteration)s, %(step_status)s, %(fact)s, %(fact_at)s::double precision, %(decision)s, %(output)s, %(blob)s,
    %(step_error_code)s, %(error)s, %(retryable)s, %(due_at)s, %(wake_id)s, %(usage)s, %(started_event)s,
    %(ended_event)s, %(started_at)s, %(completed_at)s, %(status)s, %(current_step)s, %(event_count)s, %(fact_count)s,
    %(outputs_of)s, %(error_step)s, %(error_code)s, %(error_sealed)s, %(is_alone)s
)

-- name: set_waiting
-- Its job is parked.
UPDATE workflow_runs SET status = 'waiting', event_count = %(event_count)s
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: request_cancel
-- Whoever advances the run is to end it.
UPDATE workflow_runs SET cancel_requested = true WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: job_of_run
-- The job that advances a run that has not ended.
SELECT job_id FROM workflow_runs
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status IN ('pending', 'running', 'waiting')

-- name: steps_of_run
-- A page of a run's steps, in the order of their beginning. What a loop asked itself is no step.
SELECT path, attempt, step_id, type, iteration, status, output_sealed, output_blob, error_code, error_sealed, usage,
    started_event, ended_event, started_at, completed_at
FROM workflow_steps
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND started_event IS NOT NULL
    AND started_event > %(after)s
ORDER BY started_event
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_steps
-- How many steps there are, up to a limit.
SELECT count(*)::integer FROM (
    SELECT FROM workflow_steps
    WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND started_event IS NOT NULL
    LIMIT %(count_limit)s
) counted

-- name: progress
-- How far a run is: what a look at it needs, and no more.
SELECT id, workflow_id, version, status, outputs_of, error_step, error_code, error_sealed, event_count,
    coalesce(started_at, created_at) AS started_at, completed_at
FROM workflow_runs
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: events_of_steps
-- What began or ended between two numbers of a run's events.
SELECT path, attempt, step_id, type, iteration, status, error_code, error_sealed, started_event, ended_event,
    started_at, completed_at
FROM workflow_steps
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND started_event > %(after)s AND started_event <= %(until)s
UNION ALL
SELECT path, attempt, step_id, type, iteration, status, error_code, error_sealed, started_event, ended_event,
    started_at, completed_at
FROM workflow_steps
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND ended_event > %(after)s AND ended_event <= %(until)s
    AND (started_event IS NULL OR started_event <= %(after)s)

-- name: events_of_reviews
-- What was asked between two numbers of a run's events, the first few.
SELECT id, path, event, prompt_sealed, data_sealed, due_at, created_at
FROM workflow_reviews
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND event > %(after)s AND event <= %(until)s
ORDER BY event
LIMIT %(limit)s

-- name: states_of_steps
-- How many executions of each step are in which state; of each its newest attempt.
SELECT step_id, status, count(*)::integer AS count
FROM (
    SELECT DISTINCT ON (path) step_id, status
    FROM workflow_steps
    WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND started_event IS NOT NULL
    ORDER BY path, attempt DESC
) newest
GROUP BY step_id, status

-- name: insert_review
-- A question for a person.
INSERT INTO workflow_reviews (tenant_id, id, run_id, path, attempt, event, prompt_sealed, data_sealed, due_at)
VALUES (
    %(tenant_id)s, %(id)s, %(run_id)s, %(path)s, %(attempt)s, %(event)s, %(prompt_sealed)s, %(data_sealed)s, %(due_at)s
)
ON CONFLICT DO NOTHING

-- name: get_review
-- A review of a run, locked: two answers come one after the other. And whether its step still waits for one.
SELECT r.id, r.run_id, r.path, r.attempt, r.decision, EXISTS (
    SELECT FROM workflow_steps s
    WHERE s.tenant_id = r.tenant_id AND s.run_id = r.run_id AND s.path = r.path AND s.attempt = r.attempt
        AND s.status = 'waiting'
) AS is_open
FROM workflow_reviews r
WHERE r.tenant_id = %(tenant_id)s AND r.run_id = %(run_id)s AND r.id = %(id)s
FOR NO KEY UPDATE OF r

-- name: reviews_of_run
-- A page of a run's reviews, oldest first.
SELECT id, path, prompt_sealed, data_sealed, decision, comment_sealed, due_at, event, created_at, answered_at
FROM workflow_reviews
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND event > %(after)s
ORDER BY event
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_reviews
-- How many reviews a run has had, up to a limit.
SELECT count(*)::integer FROM (
    SELECT FROM workflow_reviews WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s LIMIT %(count_limit)s
) counted

-- name: answer_review
-- The first decision counts.
UPDATE workflow_reviews
SET decision = %(decision)s, comment_sealed = %(comment_sealed)s, answer_sealed = %(answer_sealed)s,
    answered_by = %(answered_by)s, answered_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND decision IS NULL
RETURNING id

-- name: answered_reviews
-- Of the reviews that a run waits for, those that are answered.
SELECT id, decision, comment_sealed, answer_sealed FROM workflow_reviews
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND id = ANY (%(ids)s) AND decision IS NOT NULL

-- name: ended_children
-- Of the runs that a run waits for, those that have ended.
SELECT id, status, outputs_of, error_code FROM workflow_runs
WHERE tenant_id = %(tenant_id)s AND id = ANY (%(ids)s) AND status IN ('completed', 'failed', 'cancelled')

-- name: abandoned_children
-- Runs that a run has started, and does not wait for any more.
SELECT c.id FROM workflow_runs c
WHERE c.tenant_id = %(tenant_id)s AND c.parent_run_id = %(run_id)s AND c.status IN ('pending', 'running', 'waiting')
    AND NOT c.cancel_requested AND NOT EXISTS (
        SELECT FROM workflow_steps s
        WHERE s.tenant_id = %(tenant_id)s AND s.run_id = %(run_id)s AND s.wake_id = c.id AND s.status = 'waiting')
ORDER BY c.id

-- name: bill_step
-- The line on the bill of what a model was asked for a step.
INSERT INTO llm_calls (
    tenant_id, id, user_id, api_key_id, provider, model, outcome, finish_reason, input_tokens, output_tokens,
    cached_tokens, reasoning_tokens, cost_usd, estimated, first_token_ms, total_ms
) VALUES (
    %(tenant_id)s, %(call_id)s, %(user_id)s, %(api_key_id)s, %(provider)s, %(model)s, 'completed', %(finish_reason)s,
    %(input_tokens)s, %(output_tokens)s, %(cached_tokens)s, %(reasoning_tokens)s, %(cost_usd)s, %(estimated)s, NULL,
    %(total_ms)s
)
ON CONFLICT DO NOTHING

-- name: set_aside
-- The facts that a retry does not keep: the failure that ended the run. Their attempts keep their numbers.
UPDATE workflow_steps s SET fact = NULL
FROM (
    SELECT path, attempt FROM workflow_steps
    WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND fact IS NOT NULL
    ORDER BY fact
    OFFSET %(kept)s
) n
WHERE s.tenant_id = %(tenant_id)s AND s.run_id = %(run_id)s AND s.path = n.path AND s.attempt = n.attempt

-- name: keep_ends
-- `parallel`s and `loop`s that a retry sets going again. How they had ended, with its number, goes to rows of negative
-- attempts, which are nothing but that.
WITH kept AS (
    INSERT INTO workflow_steps (
        tenant_id, run_id, path, attempt, step_id, type, iteration, status, error_code, error_sealed, ended_event,
        started_at, completed_at
    )
    SELECT tenant_id, run_id, path, -ended_event, step_id, type, iteration, status, error_code, error_sealed,
        ended_event, started_at, completed_at
    FROM workflow_steps
    WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND path = ANY (%(paths)s) AND attempt = 1
        AND ended_event IS NOT NULL
)
UPDATE workflow_steps
SET status = 'running', error_code = NULL, error_sealed = NULL, ended_event = NULL, completed_at = NULL
WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s AND path = ANY (%(paths)s) AND attempt = 1
    AND ended_event IS NOT NULL

-- name: insert_retry
-- The fact that a run was begun again; its number is the run's next. With it what the run had ended with.
WITH counted AS (
    UPDATE workflow_runs SET fact_count = 1 + greatest(fact_count, (
        SELECT max(s.fact) FROM workflow_steps s WHERE s.tenant_id = %(tenant_id)s AND s.run_id = %(run_id)s
    ))
    WHERE tenant_id = %(tenant_id)s AND id = %(run_id)s
    RETURNING fact_count, error_step, error_code, error_sealed, event_count, completed_at
)
INSERT INTO workflow_steps (
    tenant_id, run_id, path, attempt, step_id, type, status, fact, fact_at, error_code, error_sealed, ended_event,
    started_at, completed_at
)
SELECT %(tenant_id)s, %(run_id)s, '', fact_count, coalesce(error_step, ''), %(type)s, 'completed', fact_count,
    extract(epoch FROM clock_timestamp()), error_code, error_sealed, event_count, now(), completed_at
FROM counted

-- name: begin_again
-- A failed run goes on, under a new job; for a slot it asks anew.
WITH left_behind AS (
    DELETE FROM workflow_run_slots WHERE tenant_id = %(tenant_id)s AND run_id = %(id)s
)
UPDATE workflow_runs
SET status = 'pending', job_id = %(job_id)s, error_step = NULL, error_code = NULL, error_sealed = NULL,
    completed_at = NULL, cancel_requested = false
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = 'failed'
RETURNING id

-- name: steps_to_copy
-- Attempts at steps of a run, with all that a copy of them has.
SELECT s.path, s.attempt, s.step_id, s.type, s.iteration, s.status, s.fact, s.fact_at, s.decision, s.output_sealed,
    s.output_blob, s.error_code, s.error_sealed, s.is_retryable, s.usage, s.started_at, s.completed_at
FROM unnest(%(paths)s::text[], %(attempts)s::integer[]) AS w (path, attempt)
JOIN workflow_steps s
    ON s.tenant_id = %(tenant_id)s AND s.run_id = %(run_id)s AND s.path = w.path AND s.attempt = w.attempt

-- name: number_events
-- When what was copied began and ended, in the numbers of the run that it was copied to.
UPDATE workflow_steps s SET started_event = w.started_event, ended_event = w.ended_event
FROM unnest(%(paths)s::text[], %(attempts)s::integer[], %(started_events)s::integer[], %(ended_events)s::integer[])
    AS w (path, attempt, started_event, ended_event)
WHERE s.tenant_id = %(tenant_id)s AND s.run_id = %(run_id)s AND s.path = w.path AND s.attempt = w.attempt

-- name: finish_copying
-- A fork goes on from what was copied: the fact that says so, and no more to copy.
WITH counted AS (
    UPDATE workflow_runs SET facts_to_copy = NULL, event_count = %(event_count)s, fact_count = 1 + (
        SELECT coalesce(max(s.fact), 0) FROM workflow_steps s
        WHERE s.tenant_id = %(tenant_id)s AND s.run_id = %(run_id)s
    )
    WHERE tenant_id = %(tenant_id)s AND id = %(run_id)s AND facts_to_copy IS NOT NULL
    RETURNING fact_count
)
INSERT INTO workflow_steps (
    tenant_id, run_id, path, attempt, step_id, type, status, fact, fact_at, started_at, completed_at
)
SELECT %(tenant_id)s, %(run_id)s, '', fact_count, '', %(type)s, 'completed', fact_count,
    extract(epoch FROM clock_timestamp()), now(), now()
FROM counted

-- name: fail_abandoned_runs
-- Runs whose job has ended without them have failed; a bounded batch, over all tenants.
SELECT dispatch.fail_abandoned_runs(%(limit)s)

-- name: cancel_orphaned_runs
-- Runs whose parent has ended without them are asked to end; a bounded batch, over all tenants.
SELECT dispatch.cancel_orphaned_runs(%(limit)s)

-- name: wake_runs_for_slots
-- Runs that wait while a slot is free, since nobody told them; a bounded batch, over all tenants.
SELECT dispatch.wake_runs_for_slots(%(limit)s)
