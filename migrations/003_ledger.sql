-- 003_ledger: every accepted piece of background work is a row here until it has ended (docs/ledger.md).
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/003_ledger.sql
-- or by `copilot migrate up`.
--
-- States: pending (due), scheduled (not before `run_after`, or parked until a signal), running, completed, cancelled,
-- dead. What a tenant's principal does to its own jobs are plain statements behind row-level security
-- (queue/queries.sql); what looks across tenants are the definer functions below, and they see ids, never content.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE TABLE jobs (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,                -- name and payload version: `webhook.deliver/1`
    class smallint NOT NULL CHECK (class BETWEEN 1 AND 4),                 -- fixed in code; 1 goes first
    priority smallint NOT NULL DEFAULT 3 CHECK (priority BETWEEN 1 AND 5), -- among the tenant's own; 1 goes first
    payload bytea NOT NULL CHECK (octet_length(payload) <= 4096),          -- MessagePack, ids only
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'scheduled', 'running', 'completed', 'cancelled', 'dead')),
    run_after timestamptz NOT NULL DEFAULT now(),                          -- 'infinity': until a signal
    user_id uuid NOT NULL,             -- the job acts as this user, with the role it has when the job is claimed
    api_key_id uuid,
    dedupe_key text CHECK (octet_length(dedupe_key) <= 200),
    max_failures smallint NOT NULL,
    failures smallint NOT NULL DEFAULT 0,
    lapses smallint NOT NULL DEFAULT 0,  -- processes lost under it since it last made progress
    fence integer NOT NULL DEFAULT 0,    -- rises with every claim, never reset
    process_id uuid,                     -- running: whose lease it lives under; pending: kept for it, to run alone
    traceparent text,
    error_code text,
    error_text text,                     -- safe: of our own errors' messages, never foreign text
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
-- In the order of claiming. Only what is due: parked and future jobs cost a claim and a depth nothing.
CREATE INDEX jobs_due ON jobs (queue, class, tenant_id, priority, run_after, id) WHERE status = 'pending';
CREATE INDEX jobs_oldest ON jobs (queue, run_after) WHERE status = 'pending';
CREATE INDEX jobs_scheduled ON jobs (queue, run_after) WHERE status = 'scheduled';
CREATE INDEX jobs_running ON jobs (process_id) WHERE status = 'running';
CREATE INDEX jobs_alone ON jobs (queue) WHERE status = 'pending' AND lapses >= 2;
CREATE UNIQUE INDEX jobs_dedupe ON jobs (tenant_id, dedupe_key)
    WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'scheduled');
CREATE INDEX jobs_dead ON jobs (tenant_id, id) WHERE status = 'dead'; -- what admins look for, among many completed ones
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;
-- Claims rewrite the same rows again and again: keep room on their pages, and clean up early.
ALTER TABLE jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- What happened outside while a job runs or is parked: cancel, a review's answer, a child's end.
CREATE TABLE job_signals (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    job_id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs ON DELETE CASCADE
);
CREATE INDEX job_signals_of_job ON job_signals (tenant_id, job_id);

-- Whose job the last claim took last: the next one begins behind it. Not a tenant's.
CREATE TABLE job_cursors (
    queue text NOT NULL,
    class smallint NOT NULL,
    after_tenant uuid NOT NULL,
    PRIMARY KEY (queue, class)
);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['jobs', 'job_signals'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            $policy$
            CREATE POLICY %I ON %I TO copilot_app
                USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
            $policy$, 'tenant_isolation_' || tenant_table, tenant_table);
        EXECUTE format(
            'CREATE POLICY %I ON %I TO copilot_dispatch USING (true)', 'dispatch_' || tenant_table, tenant_table);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON jobs, job_signals TO copilot_app;
GRANT SELECT, UPDATE, DELETE ON jobs TO copilot_dispatch;
GRANT SELECT ON job_signals TO copilot_dispatch;
GRANT SELECT, INSERT, UPDATE ON job_cursors TO copilot_dispatch;

-- The way back to the queue, for whatever reason. Where the same work was asked for anew meanwhile (one pending row a
-- dedupe key), that row does it and this one ends.
CREATE FUNCTION dispatch.put_back(
    p_tenant uuid, p_id uuid, p_run_after timestamptz, p_failures integer, p_lapses integer, p_code text, p_text text
)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.jobs
    SET status = CASE WHEN p_run_after <= clock_timestamp() THEN 'pending' ELSE 'scheduled' END,
        run_after = p_run_after, process_id = NULL, failures = p_failures, lapses = p_lapses,
        error_code = p_code, error_text = p_text, ended_at = NULL
    WHERE tenant_id = p_tenant AND id = p_id;
EXCEPTION WHEN unique_violation THEN
    UPDATE public.jobs
    SET status = 'cancelled', process_id = NULL, failures = p_failures, lapses = p_lapses,
        error_code = 'SUPERSEDED', error_text = 'The same work was asked for again.', ended_at = clock_timestamp()
    WHERE tenant_id = p_tenant AND id = p_id;
END $$;

CREATE FUNCTION dispatch.role_of(p_tenant uuid, p_user uuid)
RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT m.role FROM dispatch.find_member(p_tenant, p_user) m);
END $$;

-- Tenants with due jobs, above one and up to another, in order: one step along the index for each, however many jobs.
CREATE FUNCTION dispatch.tenants_with_work(
    p_queue text, p_class integer, p_above uuid, p_up_to uuid, p_limit integer
)
RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_found uuid[] := '{}';
    v_next uuid := p_above;
BEGIN
    WHILE cardinality(v_found) < p_limit LOOP
        SELECT j.tenant_id INTO v_next FROM public.jobs j
        WHERE j.queue = p_queue AND j.class = p_class AND j.status = 'pending' AND j.tenant_id > v_next
            AND j.tenant_id <= p_up_to
        ORDER BY j.tenant_id
        LIMIT 1;
        EXIT WHEN NOT FOUND;
        v_found := v_found || v_next;
    END LOOP;
    RETURN v_found;
END $$;

-- Due jobs for `p_process`, which has `p_running` already; at most `p_limit`, of the kinds it knows. The order: class;
-- tenants, those with the fewest running jobs first, in turns, none above `p_tenant_limit`; the tenant's priority; age.
-- Returns the role that each job's user has now: null where it may do nothing any more.
--
-- A job under which processes keep dying runs alone: it is kept for a process (`fence` null in the row returned), which
-- then takes nothing else until it is idle and gets it.
CREATE FUNCTION dispatch.claim_jobs(
    p_process uuid, p_queue text, p_known text[], p_limit integer, p_running integer, p_tenant_limit integer
)
RETURNS TABLE (
    tenant_id uuid, id uuid, kind text, payload bytea, fence integer, failures integer, lapses integer,
    user_id uuid, api_key_id uuid, role text, traceparent text, run_after timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c_tenants CONSTANT integer := 100; -- that one claim looks at, from the cursor on
    c_nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    c_everybody CONSTANT uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_left integer := p_limit;
    v_count integer;
    v_after uuid;
    v_tenants uuid[];
    v_chosen uuid[]; -- the tenants of v_ids
    v_ids uuid[];
BEGIN
    -- Whoever has not renewed its lease would be taken for dead with what it claims, again and again.
    IF NOT EXISTS (SELECT FROM public.processes p WHERE p.id = p_process AND p.lease_expires_at > clock_timestamp()) THEN
        RETURN;
    END IF;
    -- One claimer at a time in a queue, so that the counts of running jobs below are right.
    PERFORM pg_advisory_xact_lock(hashtext('copilot claim ' || p_queue));
    IF NOT EXISTS (SELECT FROM public.jobs j WHERE j.queue = p_queue AND j.status = 'pending') THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH kept AS (
        UPDATE public.jobs j
        SET process_id = p_process, status = CASE WHEN p_running = 0 THEN 'running' ELSE 'pending' END,
            fence = j.fence + CASE WHEN p_running = 0 THEN 1 ELSE 0 END,
            started_at = clock_timestamp()
        WHERE (j.tenant_id, j.id) = (
            SELECT a.tenant_id, a.id FROM public.jobs a
            WHERE a.queue = p_queue AND a.status = 'pending' AND a.lapses >= 2 AND a.kind = ANY (p_known)
                AND (a.process_id IS NULL OR a.process_id = p_process OR NOT EXISTS (
                    SELECT FROM public.processes p
                    WHERE p.id = a.process_id AND p.lease_expires_at > clock_timestamp()))
                AND p_tenant_limit > (
                    SELECT count(*) FROM public.jobs r
                    WHERE r.status = 'running' AND r.queue = p_queue AND r.tenant_id = a.tenant_id)
            ORDER BY a.run_after
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        )
        RETURNING j.*
    )
    SELECT k.tenant_id, k.id, k.kind, k.payload, CASE WHEN p_running = 0 THEN k.fence END, k.failures::integer,
        k.lapses::integer, k.user_id, k.api_key_id, dispatch.role_of(k.tenant_id, k.user_id), k.traceparent, k.run_after
    FROM kept k;
    IF FOUND THEN
        RETURN;
    END IF;

    FOR v_class IN 1..4 LOOP
        -- The tenants that have work, without reading all of their jobs: from the cursor on, then from the start.
        SELECT c.after_tenant INTO v_after FROM public.job_cursors c WHERE c.queue = p_queue AND c.class = v_class;
        v_tenants := dispatch.tenants_with_work(p_queue, v_class, coalesce(v_after, c_nobody), c_everybody, c_tenants);
        v_count := cardinality(v_tenants);
        IF v_after IS NOT NULL AND v_count < c_tenants THEN
            v_tenants := v_tenants
                || dispatch.tenants_with_work(p_queue, v_class, c_nobody, v_after, c_tenants - v_count);
        END IF;
        CONTINUE WHEN v_tenants = '{}';

        WITH running AS (
            SELECT r.tenant_id, count(*)::integer AS jobs FROM public.jobs r
            WHERE r.status = 'running' AND r.queue = p_queue GROUP BY r.tenant_id
        ), heads AS (
            SELECT h.tenant_id, h.id, coalesce(r.jobs, 0) + h.number AS turn, t.place
            FROM unnest(v_tenants) WITH ORDINALITY AS t (tenant_id, place)
            LEFT JOIN running r ON r.tenant_id = t.tenant_id
            CROSS JOIN LATERAL (
                SELECT k.tenant_id, k.id, row_number() OVER (ORDER BY k.priority, k.run_after, k.id) AS number
                FROM (
                    SELECT j.tenant_id, j.id, j.priority, j.run_after FROM public.jobs j
                    WHERE j.queue = p_queue AND j.class = v_class AND j.status = 'pending'
                        AND j.tenant_id = t.tenant_id AND j.kind = ANY (p_known) AND j.lapses < 2
                    ORDER BY j.priority, j.run_after, j.id
                    LIMIT v_left
                ) k
            ) h
            WHERE coalesce(r.jobs, 0) + h.number <= p_tenant_limit
            ORDER BY turn, t.place
            LIMIT v_left
        )
        SELECT array_agg(h.tenant_id ORDER BY h.turn, h.place), array_agg(h.id ORDER BY h.turn, h.place)
        INTO v_chosen, v_ids
        FROM heads h;
        IF v_ids IS NULL THEN
            IF cardinality(v_tenants) = c_tenants THEN -- none of them has anything for this worker: others may
                INSERT INTO public.job_cursors (queue, class, after_tenant)
                VALUES (p_queue, v_class, v_tenants[c_tenants])
                ON CONFLICT (queue, class) DO UPDATE SET after_tenant = excluded.after_tenant;
            END IF;
            CONTINUE;
        END IF;
        IF cardinality(v_tenants) > 1 THEN -- whoever was last now is behind all others the next time
            INSERT INTO public.job_cursors (queue, class, after_tenant)
            VALUES (p_queue, v_class, v_chosen[cardinality(v_chosen)])
            ON CONFLICT (queue, class) DO UPDATE SET after_tenant = excluded.after_tenant;
        END IF;

        RETURN QUERY
        WITH chosen AS (
            SELECT j.tenant_id, j.id FROM unnest(v_chosen, v_ids) AS h (tenant_id, id)
            JOIN public.jobs j ON j.tenant_id = h.tenant_id AND j.id = h.id
            WHERE j.status = 'pending'
            FOR UPDATE OF j SKIP LOCKED
        )
        UPDATE public.jobs j
        SET status = 'running', process_id = p_process, fence = j.fence + 1, started_at = clock_timestamp()
        FROM chosen c
        WHERE j.tenant_id = c.tenant_id AND j.id = c.id
        RETURNING j.tenant_id, j.id, j.kind, j.payload, j.fence, j.failures::integer, j.lapses::integer, j.user_id,
            j.api_key_id, dispatch.role_of(j.tenant_id, j.user_id), j.traceparent, j.run_after;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_left := v_left - v_count;
        EXIT WHEN v_left <= 0;
    END LOOP;
END $$;

-- The end of many jobs at once. Only of those that are still `p_process`'s under these fences; returns their ids.
CREATE FUNCTION dispatch.complete_jobs(p_process uuid, p_tenants uuid[], p_ids uuid[], p_fences integer[])
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    UPDATE public.jobs j
    SET status = 'completed', process_id = NULL, ended_at = clock_timestamp(), error_code = NULL, error_text = NULL
    FROM unnest(p_tenants, p_ids, p_fences) AS d (tenant_id, id, fence)
    WHERE j.tenant_id = d.tenant_id AND j.id = d.id AND j.fence = d.fence AND j.process_id = p_process
        AND j.status = 'running'
    RETURNING j.id;
END $$;

-- A failure: again after `p_pause`, or dead with its error where it was the last one allowed or `p_is_final`. Returns
-- the new status; null where the job is no longer this process's.
CREATE FUNCTION dispatch.fail_job(
    p_process uuid, p_tenant uuid, p_id uuid, p_fence integer, p_is_final boolean, p_pause interval, p_code text,
    p_text text
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_job public.jobs;
BEGIN
    SELECT j.* INTO v_job FROM public.jobs j
    WHERE j.tenant_id = p_tenant AND j.id = p_id AND j.fence = p_fence AND j.process_id = p_process
        AND j.status = 'running'
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF p_is_final OR v_job.failures + 1 >= v_job.max_failures THEN
        UPDATE public.jobs
        SET status = 'dead', process_id = NULL, failures = v_job.failures + 1, error_code = p_code,
            error_text = p_text, ended_at = clock_timestamp()
        WHERE tenant_id = p_tenant AND id = p_id;
    ELSE
        PERFORM dispatch.put_back(
            p_tenant, p_id, clock_timestamp() + p_pause, v_job.failures + 1, 0, p_code, p_text);
    END IF;
    RETURN (SELECT j.status FROM public.jobs j WHERE j.tenant_id = p_tenant AND j.id = p_id);
END $$;

-- The end of a running job that was asked to stop.
CREATE FUNCTION dispatch.cancel_job(p_process uuid, p_tenant uuid, p_id uuid, p_fence integer)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.jobs
    SET status = 'cancelled', process_id = NULL, ended_at = clock_timestamp()
    WHERE tenant_id = p_tenant AND id = p_id AND fence = p_fence AND process_id = p_process AND status = 'running';
    RETURN FOUND;
END $$;

-- Hand jobs back unfinished (drain, or claimed by an answer that never arrived): due again at once, no failure counted.
CREATE FUNCTION dispatch.release_jobs(p_process uuid, p_tenants uuid[], p_ids uuid[], p_fences integer[])
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_job public.jobs;
    v_count integer := 0;
BEGIN
    FOR v_job IN
        SELECT j.* FROM public.jobs j
        JOIN unnest(p_tenants, p_ids, p_fences) AS d (tenant_id, id, fence)
            ON j.tenant_id = d.tenant_id AND j.id = d.id AND j.fence = d.fence
        WHERE j.process_id = p_process AND j.status = 'running'
        FOR UPDATE OF j
    LOOP
        PERFORM dispatch.put_back(
            v_job.tenant_id, v_job.id, clock_timestamp(), v_job.failures, v_job.lapses, v_job.error_code,
            v_job.error_text);
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;

-- What a process owns, since how long, and whether it was asked to stop. What it does not find here is no longer its own.
CREATE FUNCTION dispatch.owned_jobs(p_process uuid)
RETURNS TABLE (tenant_id uuid, id uuid, fence integer, running_seconds double precision, is_cancelled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT j.tenant_id, j.id, j.fence, extract(epoch FROM clock_timestamp() - j.started_at)::double precision,
        EXISTS (
            SELECT FROM public.job_signals s
            WHERE s.tenant_id = j.tenant_id AND s.job_id = j.id AND s.seen_at IS NULL AND s.name = 'cancel'
        )
    FROM public.jobs j
    WHERE j.process_id = p_process AND j.status = 'running';
END $$;

-- One bounded batch, by one process at a time: jobs whose process is gone go back to the queue, or end where too many
-- processes were lost under them; scheduled jobs whose time has come become pending. Returns the queues to ring: those
-- with work, whoever should have been rung for it.
CREATE FUNCTION dispatch.sweep_jobs(p_queues text[], p_limit integer)
RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_lapses CONSTANT integer := 5; -- the first two run among others, the next ones alone; an innocent one gets through
    -- After the third and fourth: what ends processes by itself does less harm, what only was there outlives the trouble.
    c_pauses CONSTANT interval[] := ARRAY['0', '0', '15 seconds', '60 seconds'];
    v_job public.jobs;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot sweep jobs')) THEN
        RETURN;
    END IF;
    -- While PostgreSQL was down nobody could renew: for 6 s after it came back every lease counts as held.
    IF pg_postmaster_start_time() < clock_timestamp() - interval '6 seconds' THEN
        FOR v_job IN
            SELECT j.* FROM public.jobs j
            WHERE j.status = 'running' AND NOT EXISTS (
                SELECT FROM public.processes p WHERE p.id = j.process_id AND p.lease_expires_at > clock_timestamp()
            )
            LIMIT p_limit
            FOR UPDATE SKIP LOCKED
        LOOP
            IF v_job.lapses + 1 >= c_lapses THEN
                UPDATE public.jobs
                SET status = 'dead', process_id = NULL, lapses = v_job.lapses + 1, error_code = 'WORKER_LOST',
                    error_text = 'Every process that ran it was lost.', ended_at = clock_timestamp()
                WHERE tenant_id = v_job.tenant_id AND id = v_job.id;
            ELSE
                PERFORM dispatch.put_back(
                    v_job.tenant_id, v_job.id, clock_timestamp() + c_pauses[v_job.lapses + 1], v_job.failures,
                    v_job.lapses + 1, v_job.error_code, v_job.error_text);
            END IF;
        END LOOP;
    END IF;
    UPDATE public.jobs j SET status = 'pending'
    FROM (
        SELECT s.tenant_id, s.id FROM unnest(p_queues) AS q (queue)
        CROSS JOIN LATERAL (
            SELECT w.tenant_id, w.id FROM public.jobs w
            WHERE w.queue = q.queue AND w.status = 'scheduled' AND w.run_after <= clock_timestamp()
            ORDER BY w.run_after
            LIMIT p_limit
            FOR UPDATE SKIP LOCKED
        ) s
    ) due
    WHERE j.tenant_id = due.tenant_id AND j.id = due.id;
    RETURN QUERY
    SELECT q.queue FROM unnest(p_queues) AS q (queue)
    WHERE EXISTS (SELECT FROM public.jobs j WHERE j.queue = q.queue AND j.status = 'pending');
END $$;

-- For metrics: how many jobs are due in a queue, counted up to `p_cap`, and since when the oldest one.
CREATE FUNCTION dispatch.queue_depth(p_queue text, p_cap integer)
RETURNS TABLE (due integer, oldest_due_seconds double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT
        (
            SELECT count(*)::integer FROM (
                SELECT FROM public.jobs j WHERE j.queue = p_queue AND j.status = 'pending' LIMIT p_cap
            ) counted
        ),
        coalesce(
            extract(epoch FROM clock_timestamp() - (
                SELECT j.run_after FROM public.jobs j WHERE j.queue = p_queue AND j.status = 'pending'
                ORDER BY j.run_after LIMIT 1
            )), 0)::double precision;
END $$;

-- Delete ended jobs past their age, in one bounded batch; the dead, which somebody may want to see, later.
CREATE FUNCTION dispatch.prune_jobs(p_age interval, p_dead_age interval, p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot prune jobs')) THEN
        RETURN 0;
    END IF;
    DELETE FROM public.jobs WHERE (tenant_id, id) IN (
        SELECT j.tenant_id, j.id FROM public.jobs j
        WHERE j.ended_at < now() - p_age AND (j.status <> 'dead' OR j.ended_at < now() - p_dead_age)
        ORDER BY j.ended_at
        LIMIT p_limit);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Everybody may call what is named here; the helpers are for the functions above only.
DO $$
DECLARE
    definer regprocedure;
BEGIN
    FOR definer IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'dispatch'::regnamespace AND p.proname IN (
            'put_back', 'role_of', 'tenants_with_work', 'claim_jobs', 'complete_jobs', 'fail_job', 'cancel_job',
            'release_jobs', 'owned_jobs', 'sweep_jobs', 'queue_depth', 'prune_jobs')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', definer);
        IF definer::text !~ '\m(put_back|role_of|tenants_with_work)\(' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO copilot_app', definer);
        END IF;
        EXECUTE format('ALTER FUNCTION %s OWNER TO copilot_dispatch', definer);
    END LOOP;
END $$;
-- A plan made while the table was small may not scan it when it has grown.
ALTER FUNCTION dispatch.claim_jobs SET enable_seqscan = off;
ALTER FUNCTION dispatch.sweep_jobs SET enable_seqscan = off;
ALTER FUNCTION dispatch.queue_depth SET enable_seqscan = off;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (3, 'ledger', 1);

COMMIT;
