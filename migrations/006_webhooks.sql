-- 006_webhooks: where tenants want to be told what happened, and every delivery of such news.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/006_webhooks.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE TABLE webhooks (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    user_id uuid NOT NULL,                   -- who made it; it stays when they leave
    url_sealed bytea NOT NULL,
    events text[] NOT NULL CHECK (cardinality(events) > 0),
    description_sealed bytea,
    secret_sealed bytea NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE webhook_deliveries (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,                        -- also the `webhook-id` that the receiver sees, at every attempt
    webhook_id uuid NOT NULL,
    event text NOT NULL,
    body_sealed bytea NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    last_status smallint,                    -- HTTP, of the last answer there was
    last_error_code text,                    -- ours, never foreign text; null once delivered
    job_id uuid NOT NULL,                    -- the job that delivers it, or was the last to try; it is pruned earlier
    created_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (tenant_id, webhook_id, id);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['webhooks', 'webhook_deliveries'] LOOP
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

-- A delivery's event and body never change, nor does a webhook's secret. Deliveries go with their webhook or by age.
GRANT SELECT, INSERT, DELETE ON webhooks TO copilot_app;
GRANT UPDATE (url_sealed, events, description_sealed, is_active, updated_at) ON webhooks TO copilot_app;
GRANT SELECT, INSERT ON webhook_deliveries TO copilot_app;
GRANT UPDATE (status, attempts, last_status, last_error_code, job_id, delivered_at) ON webhook_deliveries TO copilot_app;

GRANT SELECT (tenant_id, id, created_at), DELETE ON webhook_deliveries TO copilot_dispatch;
CREATE POLICY dispatch_webhook_deliveries ON webhook_deliveries TO copilot_dispatch
    USING (created_at < now() - interval '30 days');

-- Delete one bounded batch of deliveries older than 30 days, however they ended; returns how many went. The last attempt
-- is made about a day after the first, so none of them is still awaited.
CREATE FUNCTION dispatch.prune_deliveries(p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot prune deliveries')) THEN
        RETURN 0;
    END IF;
    DELETE FROM public.webhook_deliveries WHERE (tenant_id, id) IN (
        SELECT d.tenant_id, d.id FROM public.webhook_deliveries d
        WHERE d.created_at < now() - interval '30 days'
        ORDER BY d.created_at
        LIMIT p_limit);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

REVOKE ALL ON FUNCTION dispatch.prune_deliveries(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatch.prune_deliveries(integer) TO copilot_app;
ALTER FUNCTION dispatch.prune_deliveries(integer) OWNER TO copilot_dispatch;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (6, 'webhooks', 1);

COMMIT;
