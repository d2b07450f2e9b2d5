-- 015_quotas: what each tenant may keep in its context and has there; pages that are fetched again by themselves.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/015_quotas.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- Null: as the settings of the services say. Only the platform's routes write them.
ALTER TABLE tenants
    ADD COLUMN context_max_items bigint CHECK (context_max_items >= 0),
    ADD COLUMN context_max_bytes bigint CHECK (context_max_bytes >= 0),
    ADD COLUMN context_max_chunks bigint CHECK (context_max_chunks >= 0);

-- `size_bytes` is from now on that of whatever came in, a text included. A URL with `refresh_seconds` is fetched again at
-- `next_fetch_at`, as `refresh_user_id`; null: not any more. `fetch_failures`: fetches begun since one ended well.
-- `live_hash` and `live_tokenizer` tell what the chunks that are found were cut from, and how.
ALTER TABLE context_items
    ADD COLUMN refresh_seconds integer CHECK (refresh_seconds BETWEEN 300 AND 31536000),
    ADD COLUMN refresh_user_id uuid,
    ADD COLUMN next_fetch_at timestamptz,
    ADD COLUMN fetch_failures integer NOT NULL DEFAULT 0,
    ADD COLUMN live_hash bytea,
    ADD COLUMN live_tokenizer text,
    ADD CONSTRAINT context_items_refreshed CHECK (
        (refresh_seconds IS NULL OR type = 'url')
        AND (next_fetch_at IS NULL OR num_nulls(refresh_seconds, refresh_user_id) = 0));
UPDATE context_items i SET size_bytes = b.size_bytes
FROM blobs b
WHERE b.tenant_id = i.tenant_id AND b.id = i.content_id AND i.size_bytes IS NULL AND i.type NOT IN ('file', 'url');

-- The sums over a tenant's items, kept by the triggers below: nobody else may write them. Whoever is about to add
-- something locks the row (hence UPDATE of a column that can't be changed) or makes it. Nothing is checked: a wrong sum must
-- not stand in the way of who deletes.
CREATE TABLE context_usage (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    items bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);  -- the same rows are written again and again
INSERT INTO context_usage (tenant_id, items, bytes, chunks)
SELECT tenant_id, count(*), sum(coalesce(size_bytes, 0)), sum(chunk_count) FROM context_items GROUP BY tenant_id;

ALTER TABLE context_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE context_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation_context_usage ON context_usage TO copilot_app
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY dispatch_context_usage ON context_usage TO copilot_dispatch USING (true) WITH CHECK (true);
GRANT SELECT, INSERT (tenant_id), UPDATE (tenant_id) ON context_usage TO copilot_app;
GRANT SELECT, INSERT, UPDATE ON context_usage TO copilot_dispatch;

-- There is no row to change where the tenant itself is being deleted.
CREATE FUNCTION dispatch.count_context_item()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_items integer := (TG_OP = 'INSERT')::integer - (TG_OP = 'DELETE')::integer;
    v_bytes bigint := 0;
    v_chunks bigint := 0;
BEGIN
    IF TG_OP <> 'DELETE' THEN
        v_bytes := coalesce(NEW.size_bytes, 0);
        v_chunks := NEW.chunk_count;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        v_bytes := v_bytes - coalesce(OLD.size_bytes, 0);
        v_chunks := v_chunks - OLD.chunk_count;
    END IF;
    UPDATE public.context_usage u
    SET items = u.items + v_items, bytes = u.bytes + v_bytes, chunks = u.chunks + v_chunks
    WHERE u.tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id);
    IF NOT FOUND AND TG_OP = 'INSERT' THEN
        INSERT INTO public.context_usage AS u (tenant_id, items, bytes, chunks)
        VALUES (NEW.tenant_id, v_items, v_bytes, v_chunks)
        ON CONFLICT (tenant_id) DO UPDATE
        SET items = u.items + excluded.items, bytes = u.bytes + excluded.bytes, chunks = u.chunks + excluded.chunks;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION dispatch.count_context_item() FROM PUBLIC;
ALTER FUNCTION dispatch.count_context_item() OWNER TO copilot_dispatch;

-- Deferred: one row a tenant is what all its uploads and ingestions wait for, so it is locked as the last thing of a
-- transaction, for as long as the commit takes. Nobody who has it waits for anything else.
CREATE CONSTRAINT TRIGGER count_item AFTER INSERT OR DELETE ON context_items
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION dispatch.count_context_item();
CREATE CONSTRAINT TRIGGER count_item_change AFTER UPDATE OF size_bytes, chunk_count ON context_items
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN ((OLD.size_bytes, OLD.chunk_count) IS DISTINCT FROM (NEW.size_bytes, NEW.chunk_count))
    EXECUTE FUNCTION dispatch.count_context_item();

-- Pages that are due, of one tenant after the other: `p_tenants` that have such pages are looked at, those behind
-- `p_after` in the order of their ids; at most `p_of_tenant` pages of each, `p_limit` altogether. It claims none: who
-- requests an ingestion locks the item and finds out whether it is still due. The last row has no item: its tenant is
-- where to go on, null after the last one.
CREATE INDEX context_items_due ON context_items (tenant_id, next_fetch_at) WHERE next_fetch_at IS NOT NULL;
GRANT SELECT (next_fetch_at, refresh_user_id) ON context_items TO copilot_dispatch;
CREATE POLICY dispatch_sees_refreshed_items ON context_items FOR SELECT TO copilot_dispatch
    USING (next_fetch_at IS NOT NULL);
CREATE FUNCTION dispatch.due_pages(p_after uuid, p_tenants integer, p_of_tenant integer, p_limit integer)
RETURNS TABLE (tenant_id uuid, id uuid, user_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := coalesce(p_after, '00000000-0000-0000-0000-000000000000');
    v_left integer := p_limit;
    v_count integer;
BEGIN
    FOR i IN 1..p_tenants LOOP
        EXIT WHEN v_left <= 0;
        SELECT t.tenant_id INTO v_tenant FROM public.context_items t
        WHERE t.next_fetch_at IS NOT NULL AND t.tenant_id > v_tenant
        ORDER BY t.tenant_id
        LIMIT 1;
        EXIT WHEN NOT FOUND; -- and v_tenant is null
        RETURN QUERY
        SELECT d.tenant_id, d.id, d.refresh_user_id FROM public.context_items d
        WHERE d.tenant_id = v_tenant AND d.next_fetch_at <= now() AND d.status IN ('ready', 'failed')
        ORDER BY d.next_fetch_at
        LIMIT least(p_of_tenant, v_left);
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_left := v_left - v_count;
    END LOOP;
    RETURN QUERY SELECT v_tenant, NULL::uuid, NULL::uuid;
END $$;
REVOKE ALL ON FUNCTION dispatch.due_pages FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatch.due_pages TO copilot_app;
ALTER FUNCTION dispatch.due_pages OWNER TO copilot_dispatch;
-- A plan made while the table was small may not scan it when it has grown.
ALTER FUNCTION dispatch.due_pages SET enable_seqscan = off;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (15, 'quotas', 14);

COMMIT;
