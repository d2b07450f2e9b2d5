-- 013_object_store: blobs whose pieces are in an object store, and what is to be deleted there.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/013_object_store.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- Null: the pieces are in blob_pieces. Otherwise so many objects may exist, numbered from 0: it is raised before each of
-- them is sent, so none is unknown here.
ALTER TABLE blobs ADD COLUMN object_count integer CHECK (object_count >= 0);
GRANT INSERT (object_count), UPDATE (object_count) ON blobs TO copilot_app;

-- Objects of blobs that are gone. A tenant's outlive the tenant: hence no foreign key.
CREATE TABLE blob_removals (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    blob_id uuid NOT NULL,
    object_count integer NOT NULL CHECK (object_count > 0),
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX blob_removals_due ON blob_removals (due_at);
CREATE INDEX blob_removals_blob ON blob_removals (tenant_id, blob_id);

ALTER TABLE blob_removals ENABLE ROW LEVEL SECURITY;
ALTER TABLE blob_removals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation_blob_removals ON blob_removals TO copilot_app
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT ON blob_removals TO copilot_app;

GRANT SELECT, INSERT, UPDATE (due_at, attempts), DELETE ON blob_removals TO copilot_dispatch;
CREATE POLICY dispatch_blob_removals ON blob_removals TO copilot_dispatch USING (true) WITH CHECK (true);

-- Whoever deletes the row of a blob, the cascade from its tenant included, has its objects deleted. One that was still
-- being written may get a last object, sent before its writer knew: they are looked for again after an hour.
CREATE FUNCTION dispatch.note_blob_removal()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.blob_removals (tenant_id, blob_id, object_count, due_at)
    SELECT OLD.tenant_id, OLD.id, OLD.object_count, t
    FROM unnest(ARRAY[now(), CASE WHEN OLD.piece_count IS NULL THEN now() + interval '1 hour' END]) t
    WHERE t IS NOT NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER note_removal AFTER DELETE ON blobs
    FOR EACH ROW WHEN (OLD.object_count > 0) EXECUTE FUNCTION dispatch.note_blob_removal();

-- What is due, for one process to carry out. If it fails, or the process dies, it is due again: after 5, 10, … 80 minutes.
CREATE FUNCTION dispatch.claim_blob_removals(p_limit integer)
RETURNS TABLE (tenant_id uuid, id uuid, blob_id uuid, object_count integer)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE public.blob_removals r
    SET attempts = r.attempts + 1, due_at = now() + interval '5 minutes' * power(2, least(r.attempts, 4))
    WHERE (r.tenant_id, r.id) IN (
        SELECT d.tenant_id, d.id FROM public.blob_removals d
        WHERE d.due_at <= now()
        ORDER BY d.due_at
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED)
    RETURNING r.tenant_id, r.id, r.blob_id, r.object_count
$$;

CREATE FUNCTION dispatch.finish_blob_removal(p_tenant_id uuid, p_id uuid)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM public.blob_removals WHERE tenant_id = p_tenant_id AND id = p_id
$$;

REVOKE ALL ON FUNCTION dispatch.note_blob_removal() FROM PUBLIC;
REVOKE ALL ON FUNCTION dispatch.claim_blob_removals(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION dispatch.finish_blob_removal(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatch.claim_blob_removals(integer) TO copilot_app;
GRANT EXECUTE ON FUNCTION dispatch.finish_blob_removal(uuid, uuid) TO copilot_app;
ALTER FUNCTION dispatch.note_blob_removal() OWNER TO copilot_dispatch;
ALTER FUNCTION dispatch.claim_blob_removals(integer) OWNER TO copilot_dispatch;
ALTER FUNCTION dispatch.finish_blob_removal(uuid, uuid) OWNER TO copilot_dispatch;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (13, 'object_store', 1);

COMMIT;
