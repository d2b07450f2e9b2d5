-- 014_collections: collections of items with access lists of their own, and items that expire (docs/adr/0027).
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/014_collections.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- `acl` as that of items: who of the others may see the collection, and what is in it if the item's own list agrees.
CREATE TABLE context_collections (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    user_id uuid NOT NULL REFERENCES users,
    name_sealed bytea NOT NULL,
    acl text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

ALTER TABLE context_collections ENABLE ROW LEVEL SECURITY;
ALTER TABLE context_collections FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation_context_collections ON context_collections TO copilot_app
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON context_collections TO copilot_app;
GRANT UPDATE (name_sealed, acl, updated_at) ON context_collections TO copilot_app;

-- No collection goes while it has items: they would be left without its list.
ALTER TABLE context_items
    ADD COLUMN collection_id uuid,
    ADD COLUMN expires_at timestamptz,  -- from then on nobody sees it, and soon it is deleted
    ADD FOREIGN KEY (tenant_id, collection_id) REFERENCES context_collections;
CREATE INDEX context_items_of_collection ON context_items (tenant_id, collection_id, id)
    WHERE collection_id IS NOT NULL;
CREATE INDEX context_items_expiring ON context_items (expires_at, tenant_id, id) WHERE expires_at IS NOT NULL;

GRANT SELECT (user_id, expires_at) ON context_items TO copilot_dispatch;
CREATE POLICY dispatch_sees_expired_items ON context_items FOR SELECT TO copilot_dispatch USING (expires_at <= now());

-- Some items that have expired, in this order, from one place on; each with whom its deletion acts for: its creator, or
-- an owner of the tenant where the creator has left. It claims none: who deletes one locks it, and sees whether it is there.
CREATE FUNCTION dispatch.expired_items(
    p_after_at timestamptz, p_after_tenant uuid, p_after_id uuid, p_limit integer
)
RETURNS TABLE (tenant_id uuid, id uuid, user_id uuid, expires_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.tenant_id, i.id,
        CASE WHEN dispatch.role_of(i.tenant_id, i.user_id) IS NULL THEN coalesce((
            SELECT m.user_id FROM public.memberships m
            WHERE m.tenant_id = i.tenant_id AND m.role = 'owner'
                AND dispatch.role_of(m.tenant_id, m.user_id) IS NOT NULL
            ORDER BY m.created_at
            LIMIT 1
        ), i.user_id) ELSE i.user_id END,
        i.expires_at
    FROM public.context_items i
    WHERE i.expires_at <= now() AND (i.expires_at, i.tenant_id, i.id) > (p_after_at, p_after_tenant, p_after_id)
    ORDER BY i.expires_at, i.tenant_id, i.id
    LIMIT p_limit;
END $$;
REVOKE ALL ON FUNCTION dispatch.expired_items FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatch.expired_items TO copilot_app;
ALTER FUNCTION dispatch.expired_items OWNER TO copilot_dispatch;
-- A plan made while the table was small may not scan it when it has grown.
ALTER FUNCTION dispatch.expired_items SET enable_seqscan = off;

-- Older builds know nothing of these lists and of expiry, and would show what they hide.
INSERT INTO schema_migrations (version, name, oldest_build) VALUES (14, 'collections', 14);

COMMIT;
