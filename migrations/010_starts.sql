-- 010_starts: what starts runs of workflows: schedules, and triggers that programs outside call.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/010_starts.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE TABLE workflow_schedules (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    user_id uuid NOT NULL,                   -- who made it; its runs act as them, while they may
    cron text NOT NULL,
    timezone text NOT NULL,
    misfire text NOT NULL CHECK (misfire IN ('skip', 'run_once')),
    inputs_sealed bytea NOT NULL,
    next_at timestamptz,                     -- when it is due; moved on in the transaction that starts the run
    inactive_reason text CHECK (inactive_reason IN ('FORBIDDEN', 'NEVER_DUE')),
    last_at timestamptz,
    last_run_id uuid,
    last_error text,                         -- a code of ours; null once a run has started again
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows ON DELETE CASCADE,
    CHECK ((next_at IS NULL) = (inactive_reason IS NOT NULL))
);
CREATE INDEX workflow_schedules_list ON workflow_schedules (tenant_id, workflow_id, id);
CREATE INDEX workflow_schedules_due ON workflow_schedules (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE workflow_triggers (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,                        -- is in its URL
    workflow_id uuid NOT NULL,
    user_id uuid NOT NULL,                   -- as in schedules
    name_sealed bytea NOT NULL,
    secret_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows ON DELETE CASCADE
);
CREATE INDEX workflow_triggers_list ON workflow_triggers (tenant_id, workflow_id, id);
CREATE UNIQUE INDEX workflow_triggers_called ON workflow_triggers (id);

-- A call that was taken, by a keyed hash of its `webhook-id`: the same again starts nothing.
CREATE TABLE workflow_trigger_calls (
    tenant_id uuid NOT NULL,
    trigger_id uuid NOT NULL,
    call_hash bytea NOT NULL,
    run_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, trigger_id, call_hash),
    FOREIGN KEY (tenant_id, trigger_id) REFERENCES workflow_triggers ON DELETE CASCADE
);
CREATE INDEX workflow_trigger_calls_age ON workflow_trigger_calls (expires_at);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['workflow_schedules', 'workflow_triggers', 'workflow_trigger_calls'] LOOP
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

-- What a schedule starts and as whom never changes, nor does a trigger. Calls go with their trigger or by age.
GRANT SELECT, INSERT, DELETE ON workflow_schedules, workflow_triggers TO copilot_app;
GRANT UPDATE (next_at, inactive_reason, last_at, last_run_id, last_error) ON workflow_schedules TO copilot_app;
GRANT SELECT, INSERT ON workflow_trigger_calls TO copilot_app;

GRANT SELECT (tenant_id, id, user_id, next_at) ON workflow_schedules TO copilot_dispatch;
CREATE POLICY dispatch_workflow_schedules ON workflow_schedules FOR SELECT TO copilot_dispatch
    USING (next_at IS NOT NULL);
GRANT SELECT (tenant_id, id, workflow_id, user_id, secret_sealed) ON workflow_triggers TO copilot_dispatch;
CREATE POLICY dispatch_workflow_triggers ON workflow_triggers FOR SELECT TO copilot_dispatch USING (true);
GRANT SELECT (tenant_id, trigger_id, call_hash, expires_at), DELETE ON workflow_trigger_calls TO copilot_dispatch;
CREATE POLICY dispatch_workflow_trigger_calls ON workflow_trigger_calls TO copilot_dispatch
    USING (expires_at < now());

-- Schedules that fall due within a time, the earliest first, with the seconds until then: a bounded batch. It claims
-- none: who starts a run locks its row, passing over what others have locked, and finds out whether it is still due.
CREATE FUNCTION dispatch.due_schedules(p_ahead_seconds double precision, p_limit integer)
RETURNS TABLE (tenant_id uuid, id uuid, user_id uuid, seconds double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.tenant_id, s.id, s.user_id, extract(epoch FROM s.next_at - now())::double precision
    FROM public.workflow_schedules s
    WHERE s.next_at IS NOT NULL AND s.next_at <= now() + make_interval(secs => p_ahead_seconds)
    ORDER BY s.next_at
    LIMIT p_limit;
END $$;

-- The trigger that a URL names, of whatever tenant, with its maker's present role: null where they are nothing.
CREATE FUNCTION dispatch.find_trigger(p_id uuid)
RETURNS TABLE (tenant_id uuid, workflow_id uuid, user_id uuid, secret_sealed bytea, role text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.tenant_id, t.workflow_id, t.user_id, t.secret_sealed, dispatch.role_of(t.tenant_id, t.user_id)
    FROM public.workflow_triggers t
    WHERE t.id = p_id;
END $$;

-- Delete one bounded batch of calls past their expiry; returns how many went.
CREATE FUNCTION dispatch.prune_trigger_calls(p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot prune trigger calls')) THEN
        RETURN 0;
    END IF;
    DELETE FROM public.workflow_trigger_calls WHERE (tenant_id, trigger_id, call_hash) IN (
        SELECT c.tenant_id, c.trigger_id, c.call_hash FROM public.workflow_trigger_calls c
        WHERE c.expires_at < now()
        ORDER BY c.expires_at
        LIMIT p_limit);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

DO $$
DECLARE
    definer regprocedure;
BEGIN
    FOREACH definer IN ARRAY ARRAY[
        'dispatch.due_schedules(double precision, integer)', 'dispatch.find_trigger(uuid)',
        'dispatch.prune_trigger_calls(integer)'
    ]::regprocedure[] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', definer);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO copilot_app', definer);
        EXECUTE format('ALTER FUNCTION %s OWNER TO copilot_dispatch', definer);
    END LOOP;
END $$;

-- A plan made while the table was small may not scan it when it has grown.
ALTER FUNCTION dispatch.due_schedules SET enable_seqscan = off;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (10, 'starts', 1);

COMMIT;
