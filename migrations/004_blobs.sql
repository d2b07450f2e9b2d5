-- 004_blobs: byte strings too large for a column, as sealed pieces.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/004_blobs.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- A blob is finished, with all three of its last columns, or it is being written and nobody can read it. What a reader
-- believes is the manifest: size and SHA-256, sealed. The other two are for sums and for pruning.
CREATE TABLE blobs (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    size_bytes bigint,
    piece_count integer,
    manifest_sealed bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT blobs_finished_or_not CHECK (num_nulls(size_bytes, piece_count, manifest_sealed) IN (0, 3))
);
CREATE INDEX blobs_unfinished ON blobs (created_at) WHERE piece_count IS NULL;

-- Pieces count from 0. EXTERNAL: ciphertext does not compress, so PostgreSQL need not try.
CREATE TABLE blob_pieces (
    tenant_id uuid NOT NULL,
    blob_id uuid NOT NULL,
    number integer NOT NULL CHECK (number >= 0),
    content_sealed bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (tenant_id, blob_id, number),
    FOREIGN KEY (tenant_id, blob_id) REFERENCES blobs ON DELETE CASCADE
);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['blobs', 'blob_pieces'] LOOP
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

-- A piece is never changed, and goes with its blob (the cascade runs as the owner).
GRANT SELECT, INSERT (tenant_id, id), UPDATE (size_bytes, piece_count, manifest_sealed), DELETE ON blobs TO copilot_app;
GRANT SELECT, INSERT ON blob_pieces TO copilot_app;

GRANT SELECT (tenant_id, id, piece_count, created_at), DELETE ON blobs TO copilot_dispatch;
GRANT SELECT (tenant_id, blob_id, number), DELETE ON blob_pieces TO copilot_dispatch;
CREATE POLICY dispatch_blobs ON blobs TO copilot_dispatch USING (piece_count IS NULL);
CREATE POLICY dispatch_blob_pieces ON blob_pieces TO copilot_dispatch USING (EXISTS (
    SELECT FROM blobs b WHERE b.tenant_id = blob_pieces.tenant_id AND b.id = blob_pieces.blob_id AND b.piece_count IS NULL
));

-- Delete what was begun a day ago and never finished: at most so many pieces, and of the blobs those without pieces left;
-- returns how many rows went. By pieces, because one blob may have more than a statement should delete at once. A writer
-- gives up an hour earlier, so no blob is finished while its pieces go.
CREATE FUNCTION dispatch.prune_blobs(p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_pieces integer;
    v_blobs integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot prune blobs')) THEN
        RETURN 0;
    END IF;
    DELETE FROM public.blob_pieces WHERE (tenant_id, blob_id, number) IN (
        SELECT p.tenant_id, p.blob_id, p.number
        FROM public.blobs b
        JOIN public.blob_pieces p ON p.tenant_id = b.tenant_id AND p.blob_id = b.id
        WHERE b.piece_count IS NULL AND b.created_at < now() - interval '1 day'
        LIMIT p_limit);
    GET DIAGNOSTICS v_pieces = ROW_COUNT;
    DELETE FROM public.blobs WHERE (tenant_id, id) IN (
        SELECT b.tenant_id, b.id
        FROM public.blobs b
        WHERE b.piece_count IS NULL AND b.created_at < now() - interval '1 day'
            AND NOT EXISTS (SELECT FROM public.blob_pieces p WHERE p.tenant_id = b.tenant_id AND p.blob_id = b.id)
        LIMIT p_limit);
    GET DIAGNOSTICS v_blobs = ROW_COUNT;
    RETURN v_pieces + v_blobs;
END $$;

REVOKE ALL ON FUNCTION dispatch.prune_blobs(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatch.prune_blobs(integer) TO copilot_app;
ALTER FUNCTION dispatch.prune_blobs(integer) OWNER TO copilot_dispatch;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (4, 'blobs', 1);

COMMIT;
