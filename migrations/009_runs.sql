-- 009_runs: runs of workflows: their steps, one row an execution, and what people are asked.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/009_runs.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE TABLE workflow_runs (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    version integer NOT NULL,          -- pinned: a later version of the workflow does not change a run
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    job_id uuid NOT NULL,              -- advances it
    fence integer NOT NULL DEFAULT 0,  -- of the job's claim that opened the run last: no other writes for it any more
    user_id uuid NOT NULL,
    inputs_sealed bytea NOT NULL,
    outputs_of text,                   -- ended well: the path of the step whose output is the run's
    current_step text,                 -- the path of the step that began last
    error_step text,
    error_code text,
    error_sealed bytea,
    cancel_requested boolean NOT NULL DEFAULT false,
    event_count integer NOT NULL DEFAULT 0,
    fact_count integer NOT NULL DEFAULT 0,
    parent_run_id uuid,                -- a `workflow` step of it waits for this run
    depth smallint NOT NULL DEFAULT 0, -- of parents above it
    forked_from uuid,                  -- the run whose beginning it has
    facts_to_copy integer,             -- of that run, so many, in their order, before anything else; null once it is done
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    completed_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, workflow_id, version) REFERENCES workflow_versions ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, parent_run_id) REFERENCES workflow_runs ON DELETE CASCADE
);
-- Every step updates its run's row, but no column of an index: keep room for that on its page.
ALTER TABLE workflow_runs SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX workflow_runs_of_workflow ON workflow_runs (tenant_id, workflow_id, id);
CREATE INDEX workflow_runs_by_status ON workflow_runs (tenant_id, status, id);
CREATE INDEX workflow_runs_children ON workflow_runs (tenant_id, parent_run_id) WHERE parent_run_id IS NOT NULL;
CREATE INDEX workflow_runs_unended ON workflow_runs (job_id) WHERE status IN ('pending', 'running', 'waiting');

-- One row an attempt at a step. `fact`: its place in the history that the state machine replays; null while there is
-- nothing to replay, and for what a retry has set aside. `started_event`, `ended_event`: numbers of the run's events,
-- which are no rows of their own but told from these. A retry adds one row without a path, of the type `retry`: it has
-- the number and the error of the failure that the run had ended with (`step_id`: the path of the step). And it sets
-- `parallel`s and `loop`s going again; how they had ended stays in a row of a negative attempt.
CREATE TABLE workflow_steps (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    path text NOT NULL CHECK (octet_length(path) <= 1000),
    attempt integer NOT NULL,
    step_id text NOT NULL,
    type text NOT NULL,
    iteration integer,                 -- of the innermost loop around it
    status text NOT NULL CHECK (status IN ('running', 'waiting', 'completed', 'failed', 'cancelled')),
    fact integer,
    fact_at double precision,          -- epoch seconds
    decision text,                     -- what a condition or loop decided: `next:<step>`, `count:<n>`, `goes_on:<bool>`
    output_sealed bytea,
    output_blob uuid,                  -- instead, when it is large
    error_code text,
    error_sealed bytea,
    is_retryable boolean NOT NULL DEFAULT false,
    due_at timestamptz,                -- waiting: when it goes on by itself
    wake_id uuid,                      -- waiting: of the review or of the child run
    usage jsonb,
    started_event integer,
    ended_event integer,
    started_at timestamptz NOT NULL,
    completed_at timestamptz,
    PRIMARY KEY (tenant_id, run_id, path, attempt),
    FOREIGN KEY (tenant_id, run_id) REFERENCES workflow_runs ON DELETE CASCADE
);
-- A page of a run's events: what began and what ended between two numbers.
CREATE INDEX workflow_steps_begun ON workflow_steps (tenant_id, run_id, started_event) WHERE started_event IS NOT NULL;
CREATE INDEX workflow_steps_ended ON workflow_steps (tenant_id, run_id, ended_event) WHERE ended_event IS NOT NULL;
-- Room for the update that ends a step that was written when it began.
ALTER TABLE workflow_steps SET (fillfactor = 90);

-- What a person is asked, and what they said. The first decision counts.
CREATE TABLE workflow_reviews (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    path text NOT NULL,
    attempt integer NOT NULL,
    event integer NOT NULL,            -- its `review_requested`
    prompt_sealed bytea NOT NULL,
    data_sealed bytea,
    due_at timestamptz,
    decision text CHECK (decision IN ('approve', 'reject')),
    comment_sealed bytea,
    answer_sealed bytea,
    answered_by uuid,
    answered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES workflow_runs ON DELETE CASCADE
);
CREATE INDEX workflow_reviews_of_run ON workflow_reviews (tenant_id, run_id, event);

-- Runs of workflows that let only so many run at once: those that run have a slot, the others wait for one. The row
-- goes with the run's end; one that is left behind counts for nothing.
CREATE TABLE workflow_run_slots (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    key_hash bytea NOT NULL,           -- keyed, of what the definition's `key` came to: runs with the same share the slots
    slot_limit integer NOT NULL,
    is_held boolean NOT NULL,
    created_at timestamptz NOT NULL,   -- the run's: whoever is older comes first. Ids of child runs tell no time
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES workflow_runs ON DELETE CASCADE
);
CREATE INDEX workflow_run_slots_queue
    ON workflow_run_slots (tenant_id, workflow_id, key_hash, is_held, created_at, run_id);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['workflow_runs', 'workflow_steps', 'workflow_reviews', 'workflow_run_slots'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            $policy$
            CREATE POLICY %I ON %I TO copilot_app
                USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
            $policy$, 'tenant_isolation_' || tenant_table, tenant_table);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON workflow_runs, workflow_steps, workflow_reviews TO copilot_app;
GRANT UPDATE (
    status, job_id, fence, outputs_of, current_step, error_step, error_code, error_sealed, cancel_requested, event_count,
    fact_count, facts_to_copy, started_at, completed_at
) ON workflow_runs TO copilot_app;
GRANT UPDATE (
    status, fact, fact_at, decision, output_sealed, output_blob, error_code, error_sealed, is_retryable, due_at, wake_id,
    usage, started_event, ended_event, completed_at
) ON workflow_steps TO copilot_app;
GRANT SELECT, INSERT, DELETE ON workflow_run_slots TO copilot_app;
GRANT UPDATE (is_held) ON workflow_run_slots TO copilot_app;
GRANT UPDATE (decision, comment_sealed, answer_sealed, answered_by, answered_at) ON workflow_reviews TO copilot_app;

CREATE SCHEMA run;
GRANT USAGE ON SCHEMA run TO copilot_app;

-- A run that is about to be led, under the lock of its job; no row where the job is not this fence's. From here on what
-- an earlier claim would write for it is refused, and what it has written is seen. Nobody waits for the disk: should
-- PostgreSQL crash before it is there, so is nothing that was written after it, and run.move opens it anew. Functions of this schema run as whoever
-- calls them, as those of 002, and set the tenant in the same round trip.
CREATE FUNCTION run.open(p_tenant uuid, p_user uuid, p_job uuid, p_fence integer, p_run uuid)
RETURNS SETOF public.workflow_runs
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true), set_config('app.user_id', p_user::text, true),
        set_config('synchronous_commit', 'off', true);
    PERFORM FROM public.jobs j
    WHERE j.tenant_id = p_tenant AND j.id = p_job AND j.fence = p_fence AND j.status = 'running'
    FOR NO KEY UPDATE;
    IF FOUND THEN
        RETURN QUERY UPDATE public.workflow_runs r SET fence = p_fence
            WHERE r.tenant_id = p_tenant AND r.id = p_run AND r.job_id = p_job
            RETURNING r.*;
    END IF;
END $$;

-- The whole beginning of a run in one statement, as a transaction of its own: its row, its job, its audit row. Returns when
-- that was. Null, and nothing is written, where it should not come alone: somebody wants to be told, or the version, which
-- was not asked for by number, is not the current one any more. The same again does the same.
CREATE FUNCTION run.begin(
    p_tenant uuid, p_user uuid, p_workflow uuid, p_version integer, p_is_pinned boolean, p_run uuid, p_inputs bytea,
    p_job uuid, p_queue text, p_kind text, p_class integer, p_priority integer, p_payload bytea, p_api_key uuid,
    p_max_failures integer, p_traceparent text,
    p_audit uuid, p_actor_type text, p_actor uuid, p_address text, p_details jsonb
)
RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
    v_at timestamptz;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true), set_config('app.user_id', p_user::text, true);
    SELECT r.created_at INTO v_at FROM public.workflow_runs r WHERE r.tenant_id = p_tenant AND r.id = p_run;
    IF FOUND OR turn.has_listeners(p_tenant, 'workflow.started') THEN
        RETURN v_at;
    END IF;
    INSERT INTO public.workflow_runs (tenant_id, id, workflow_id, version, job_id, user_id, inputs_sealed)
    SELECT p_tenant, p_run, w.id, p_version, p_job, p_user, p_inputs
    FROM public.workflows w
    WHERE w.tenant_id = p_tenant AND w.id = p_workflow AND w.deleted_at IS NULL
        AND (p_is_pinned OR w.current_version = p_version)
    RETURNING created_at INTO v_at;
    IF FOUND THEN
        INSERT INTO public.jobs (
            tenant_id, id, queue, kind, class, priority, payload, run_after, user_id, api_key_id, max_failures, traceparent
        ) VALUES (
            p_tenant, p_job, p_queue, p_kind, p_class, p_priority, p_payload, clock_timestamp(), p_user, p_api_key,
            p_max_failures, p_traceparent
        );
        INSERT INTO public.audit_log (
            tenant_id, id, actor_type, actor_id, user_id, action, resource_type, resource_id, address, details
        ) VALUES (
            p_tenant, p_audit, p_actor_type, p_actor, p_user, 'run.started', 'run', p_run, p_address, p_details
        );
    END IF;
    RETURN v_at;
END $$;

-- How far a run is; with a status that is an end, the run and its job end. False, and nothing is written, where an earlier
-- claim's process asks. Null, and nothing is written, for an end that comes alone but should not: somebody listens, or a
-- parent waits, and what tells them belongs into the same transaction. The same again does the same.
CREATE FUNCTION run.move(
    p_tenant uuid, p_user uuid, p_job uuid, p_fence integer, p_run uuid, p_status text, p_current_step text,
    p_event_count integer, p_fact_count integer, p_outputs_of text, p_error_step text, p_error_code text,
    p_error_sealed bytea, p_is_alone boolean
)
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_is_end boolean := p_status IN ('completed', 'failed', 'cancelled');
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true), set_config('app.user_id', p_user::text, true);
    IF v_is_end THEN
        IF p_is_alone AND (
            turn.has_listeners(p_tenant, 'workflow.' || p_status)
            OR EXISTS (
                SELECT FROM public.workflow_runs r
                WHERE r.tenant_id = p_tenant AND r.id = p_run AND r.parent_run_id IS NOT NULL)
        ) THEN
            RETURN NULL;
        END IF;
        UPDATE public.jobs j
        SET status = 'completed', process_id = NULL, ended_at = clock_timestamp(), error_code = NULL, error_text = NULL
        WHERE j.tenant_id = p_tenant AND j.id = p_job AND j.fence = p_fence AND j.status = 'running';
        IF NOT FOUND THEN
            RETURN EXISTS (
                SELECT FROM public.workflow_runs r
                WHERE r.tenant_id = p_tenant AND r.id = p_run AND r.job_id = p_job AND r.fence = p_fence
                    AND r.status = p_status AND r.event_count = p_event_count);
        END IF;
    ELSE -- the run came further: what was lost and failed under its job before does not count any more
        UPDATE public.jobs j SET lapses = 0, failures = 0
        WHERE j.tenant_id = p_tenant AND j.id = p_job AND j.fence = p_fence AND j.status = 'running'
            AND (j.lapses > 0 OR j.failures > 0) AND EXISTS (
                SELECT FROM public.workflow_runs r
                WHERE r.tenant_id = p_tenant AND r.id = p_run AND r.event_count < p_event_count);
    END IF;
    -- Up to this fence: that the run was opened may have been lost with a crash of PostgreSQL, which the leader outlived.
    UPDATE public.workflow_runs r
    SET status = p_status, fence = p_fence, current_step = coalesce(p_current_step, r.current_step),
        event_count = p_event_count,
        fact_count = p_fact_count, started_at = coalesce(r.started_at, now()), outputs_of = p_outputs_of,
        error_step = p_error_step, error_code = p_error_code, error_sealed = p_error_sealed,
        completed_at = CASE WHEN v_is_end THEN now() END
    WHERE r.tenant_id = p_tenant AND r.id = p_run AND r.job_id = p_job AND r.fence <= p_fence
        AND r.status IN ('pending', 'running', 'waiting'); -- else it was given up without its job
    RETURN FOUND;
END $$;

-- What has become of one step of a run, and of the run, in one statement: a transaction of its own and one round trip, or
-- part of the caller's. Returns what run.move does.
CREATE FUNCTION run.record_one(
    p_tenant uuid, p_user uuid, p_job uuid, p_fence integer, p_run uuid,
    p_path text, p_attempt integer, p_step_id text, p_type text, p_iteration integer, p_step_status text,
    p_fact integer, p_fact_at double precision, p_decision text, p_output bytea, p_blob uuid, p_step_error_code text,
    p_error bytea, p_retryable boolean, p_due_at timestamptz, p_wake_id uuid, p_usage jsonb, p_started_event integer,
    p_ended_event integer, p_started_at timestamptz, p_completed_at timestamptz,
    p_status text, p_current_step text, p_event_count integer, p_fact_count integer,
    p_outputs_of text, p_error_step text, p_error_code text, p_error_sealed bytea, p_is_alone boolean
)
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_moved boolean := run.move(
        p_tenant, p_user, p_job, p_fence, p_run, p_status, p_current_step, p_event_count, p_fact_count, p_outputs_of,
        p_error_step, p_error_code, p_error_sealed, p_is_alone);
BEGIN
    IF v_moved THEN
        INSERT INTO public.workflow_steps AS s (
            tenant_id, run_id, path, attempt, step_id, type, iteration, status, fact, fact_at, decision, output_sealed,
            output_blob, error_code, error_sealed, is_retryable, due_at, wake_id, usage, started_event, ended_event,
            started_at, completed_at
        ) VALUES (
            p_tenant, p_run, p_path, p_attempt, p_step_id, p_type, p_iteration, p_step_status, p_fact, p_fact_at,
            p_decision, p_output, p_blob, p_step_error_code, p_error, p_retryable, p_due_at, p_wake_id, p_usage,
            p_started_event, p_ended_event, p_started_at, p_completed_at
        )
        ON CONFLICT (tenant_id, run_id, path, attempt) DO UPDATE SET
            status = excluded.status, fact = coalesce(excluded.fact, s.fact),
            fact_at = coalesce(excluded.fact_at, s.fact_at), decision = coalesce(excluded.decision, s.decision),
            output_sealed = excluded.output_sealed, output_blob = excluded.output_blob,
            error_code = excluded.error_code, error_sealed = excluded.error_sealed,
            is_retryable = excluded.is_retryable, due_at = excluded.due_at, wake_id = excluded.wake_id,
            usage = excluded.usage, ended_event = coalesce(excluded.ended_event, s.ended_event),
            completed_at = coalesce(excluded.completed_at, s.completed_at);
    END IF;
    RETURN v_moved;
END $$;

-- As run.record_one, of any number of steps: arrays are parallel, an entry a step.
CREATE FUNCTION run.record(
    p_tenant uuid, p_user uuid, p_job uuid, p_fence integer, p_run uuid,
    p_paths text[], p_attempts integer[], p_step_ids text[], p_types text[], p_iterations integer[],
    p_statuses text[], p_facts integer[], p_facts_at double precision[], p_decisions text[],
    p_outputs bytea[], p_blobs uuid[], p_error_codes text[], p_errors bytea[], p_retryables boolean[],
    p_due_at timestamptz[], p_wake_ids uuid[], p_usages jsonb[],
    p_started_events integer[], p_ended_events integer[], p_started_at timestamptz[], p_completed_at timestamptz[],
    p_status text, p_current_step text, p_event_count integer, p_fact_count integer,
    p_outputs_of text, p_error_step text, p_error_code text, p_error_sealed bytea, p_is_alone boolean
)
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_moved boolean := run.move(
        p_tenant, p_user, p_job, p_fence, p_run, p_status, p_current_step, p_event_count, p_fact_count, p_outputs_of,
        p_error_step, p_error_code, p_error_sealed, p_is_alone);
BEGIN
    IF v_moved THEN
        INSERT INTO public.workflow_steps AS s (
            tenant_id, run_id, path, attempt, step_id, type, iteration, status, fact, fact_at, decision, output_sealed,
            output_blob, error_code, error_sealed, is_retryable, due_at, wake_id, usage, started_event, ended_event,
            started_at, completed_at
        )
        SELECT p_tenant, p_run, n.* FROM unnest(
            p_paths, p_attempts, p_step_ids, p_types, p_iterations, p_statuses, p_facts, p_facts_at, p_decisions,
            p_outputs, p_blobs, p_error_codes, p_errors, p_retryables, p_due_at, p_wake_ids, p_usages,
            p_started_events, p_ended_events, p_started_at, p_completed_at
        ) AS n
        ON CONFLICT (tenant_id, run_id, path, attempt) DO UPDATE SET
            status = excluded.status, fact = coalesce(excluded.fact, s.fact),
            fact_at = coalesce(excluded.fact_at, s.fact_at), decision = coalesce(excluded.decision, s.decision),
            output_sealed = excluded.output_sealed, output_blob = excluded.output_blob,
            error_code = excluded.error_code, error_sealed = excluded.error_sealed,
            is_retryable = excluded.is_retryable, due_at = excluded.due_at, wake_id = excluded.wake_id,
            usage = excluded.usage, ended_event = coalesce(excluded.ended_event, s.ended_event),
            completed_at = coalesce(excluded.completed_at, s.completed_at);
    END IF;
    RETURN v_moved;
END $$;

-- Runs whose job has ended without them (dead, or cancelled by an administrator) have failed. A bounded batch; one
-- process at a time. Returns how many.
GRANT SELECT (tenant_id, id, job_id, parent_run_id, status, cancel_requested, event_count, started_at),
    UPDATE (status, cancel_requested, error_code, event_count, started_at, completed_at)
    ON workflow_runs TO copilot_dispatch;
GRANT INSERT ON job_signals TO copilot_dispatch;
-- Two: what an UPDATE leaves behind must pass the policy for reading, too.
CREATE POLICY dispatch_workflow_runs ON workflow_runs FOR SELECT TO copilot_dispatch USING (true);
CREATE POLICY dispatch_unended_runs ON workflow_runs FOR UPDATE TO copilot_dispatch
    USING (status IN ('pending', 'running', 'waiting')) WITH CHECK (status IN ('pending', 'running', 'waiting', 'failed'));

CREATE FUNCTION dispatch.fail_abandoned_runs(p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot abandoned runs')) THEN
        RETURN 0;
    END IF;
    UPDATE public.workflow_runs r
    SET status = 'failed', error_code = 'WORKER_LOST', event_count = greatest(r.event_count, 1) + 1,
        started_at = coalesce(r.started_at, now()), completed_at = now()
    WHERE (r.tenant_id, r.id) IN (
        SELECT o.tenant_id, o.id FROM public.workflow_runs o
        WHERE o.status IN ('pending', 'running', 'waiting') AND NOT EXISTS (
            SELECT FROM public.jobs j
            WHERE j.tenant_id = o.tenant_id AND j.id = o.job_id AND j.status IN ('pending', 'scheduled', 'running'))
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Runs that were started by one that has ended without cancelling them, since nobody led it any more: they are asked to
-- end, as a person would. A bounded batch; one process at a time. Returns how many.
CREATE FUNCTION dispatch.cancel_orphaned_runs(p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_run record;
    v_count integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot orphaned runs')) THEN
        RETURN 0;
    END IF;
    FOR v_run IN
        SELECT c.tenant_id, c.id, c.job_id FROM public.workflow_runs c
        JOIN public.workflow_runs p ON p.tenant_id = c.tenant_id AND p.id = c.parent_run_id
        WHERE c.status IN ('pending', 'running', 'waiting') AND NOT c.cancel_requested
            AND p.status IN ('completed', 'failed', 'cancelled') AND EXISTS (
                SELECT FROM public.jobs j
                WHERE j.tenant_id = c.tenant_id AND j.id = c.job_id AND j.status IN ('pending', 'scheduled', 'running'))
        LIMIT p_limit
    LOOP
        -- The job first, as whoever leads the run does.
        PERFORM FROM public.jobs j WHERE j.tenant_id = v_run.tenant_id AND j.id = v_run.job_id FOR NO KEY UPDATE;
        INSERT INTO public.job_signals (tenant_id, id, job_id, name)
        VALUES (v_run.tenant_id, gen_random_uuid(), v_run.job_id, 'cancel');
        UPDATE public.jobs j SET status = 'pending', run_after = clock_timestamp()
        WHERE j.tenant_id = v_run.tenant_id AND j.id = v_run.job_id AND j.status = 'scheduled';
        UPDATE public.workflow_runs c SET cancel_requested = true
        WHERE c.tenant_id = v_run.tenant_id AND c.id = v_run.id AND c.status IN ('pending', 'running', 'waiting');
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;

-- Runs that wait for a slot while one is free, since whoever had it was lost before it could tell them: the first of
-- each queue is woken. A bounded batch; one process at a time. Returns how many.
GRANT SELECT, DELETE ON workflow_run_slots TO copilot_dispatch;
CREATE POLICY dispatch_workflow_run_slots ON workflow_run_slots TO copilot_dispatch USING (true);

CREATE FUNCTION dispatch.wake_runs_for_slots(p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_run record;
    v_count integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot runs for slots')) THEN
        RETURN 0;
    END IF;
    DELETE FROM public.workflow_run_slots WHERE (tenant_id, run_id) IN (
        SELECT s.tenant_id, s.run_id FROM public.workflow_run_slots s
        JOIN public.workflow_runs r ON r.tenant_id = s.tenant_id AND r.id = s.run_id
        WHERE r.status IN ('completed', 'failed', 'cancelled')
        LIMIT p_limit);
    FOR v_run IN
        SELECT f.tenant_id, r.job_id
        FROM (
            SELECT DISTINCT ON (s.tenant_id, s.workflow_id, s.key_hash) s.*
            FROM public.workflow_run_slots s
            JOIN public.workflow_runs w ON w.tenant_id = s.tenant_id AND w.id = s.run_id
            WHERE NOT s.is_held AND w.status IN ('pending', 'running', 'waiting')
            ORDER BY s.tenant_id, s.workflow_id, s.key_hash, s.created_at, s.run_id
        ) f
        JOIN public.workflow_runs r ON r.tenant_id = f.tenant_id AND r.id = f.run_id
        WHERE f.slot_limit > (
            SELECT count(*) FROM public.workflow_run_slots h
            JOIN public.workflow_runs w ON w.tenant_id = h.tenant_id AND w.id = h.run_id
            WHERE h.tenant_id = f.tenant_id AND h.workflow_id = f.workflow_id AND h.key_hash = f.key_hash AND h.is_held
                AND w.status IN ('pending', 'running', 'waiting')
        )
        LIMIT p_limit
    LOOP
        PERFORM FROM public.jobs j
        WHERE j.tenant_id = v_run.tenant_id AND j.id = v_run.job_id AND j.status = 'scheduled'
            AND j.run_after = 'infinity' -- parked for a signal; another pause has its own reason
        FOR NO KEY UPDATE;
        CONTINUE WHEN NOT FOUND; -- it is on its way
        UPDATE public.jobs j SET status = 'pending', run_after = clock_timestamp()
        WHERE j.tenant_id = v_run.tenant_id AND j.id = v_run.job_id;
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;

REVOKE ALL ON FUNCTION
    dispatch.fail_abandoned_runs(integer), dispatch.cancel_orphaned_runs(integer), dispatch.wake_runs_for_slots(integer)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    dispatch.fail_abandoned_runs(integer), dispatch.cancel_orphaned_runs(integer), dispatch.wake_runs_for_slots(integer)
TO copilot_app;
ALTER FUNCTION dispatch.fail_abandoned_runs(integer) OWNER TO copilot_dispatch;
ALTER FUNCTION dispatch.cancel_orphaned_runs(integer) OWNER TO copilot_dispatch;
ALTER FUNCTION dispatch.wake_runs_for_slots(integer) OWNER TO copilot_dispatch;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (9, 'runs', 1);

COMMIT;
