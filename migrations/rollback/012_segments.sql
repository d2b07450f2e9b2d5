-- Undo 012_segments: the index of every item, and items that are files or URLs; builds made for schema 12 or later stop
-- being ready. Texts, codes and documents are kept, marked as failed: reindex them.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

TRUNCATE context_chunks, context_embeddings, context_embeddings_wide;
DROP TABLE context_labels, context_postings, context_segment_codes, context_segments, context_indexes,
    context_embeddings_wide;
DROP INDEX context_chunks_by_text;
ALTER TABLE context_chunks
    DROP CONSTRAINT context_chunks_number_unique,
    DROP COLUMN attempt, DROP COLUMN page, DROP COLUMN text_hash,
    ADD CONSTRAINT context_chunks_number_unique UNIQUE (tenant_id, item_id, number);
DELETE FROM blobs b
USING context_items i
WHERE i.type IN ('file', 'url') AND b.tenant_id = i.tenant_id
    AND b.id = ANY (i.staged_blob_ids || ARRAY[i.source_id, i.content_id]);
DELETE FROM context_items WHERE type IN ('file', 'url');
DELETE FROM blobs b
USING context_items i
WHERE i.source_id IS NOT NULL AND b.tenant_id = i.tenant_id AND b.id = i.content_id;
UPDATE context_items SET content_id = source_id WHERE source_id IS NOT NULL;  -- a text that was to take another's place
UPDATE context_items
SET status = 'failed', error_code = 'OUTDATED_INDEX', error = 'It was indexed by another version; reindex it.',
    chunk_count = 0, token_count = 0, updated_at = now()
WHERE status = 'ready';
ALTER TABLE context_items
    ADD COLUMN term_count integer NOT NULL DEFAULT 0,
    DROP COLUMN attempt_id, DROP COLUMN attempts, DROP COLUMN live_attempt, DROP COLUMN source_id, DROP COLUMN staged_blob_ids,
    DROP COLUMN media_type, DROP COLUMN size_bytes, DROP COLUMN url_sealed, DROP COLUMN validators_sealed,
    DROP COLUMN fetched_at, DROP COLUMN progress_done, DROP COLUMN progress_total;

CREATE TABLE context_postings (
    tenant_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    tf smallint NOT NULL CHECK (tf > 0),
    length smallint NOT NULL CHECK (length >= tf),
    term bytea NOT NULL,
    FOREIGN KEY (tenant_id, chunk_id) REFERENCES context_chunks ON DELETE CASCADE
);
CREATE INDEX context_postings_by_term ON context_postings (tenant_id, term) INCLUDE (chunk_id, tf, length);
CREATE INDEX context_postings_by_chunk ON context_postings (tenant_id, chunk_id);
CREATE TABLE context_statistics (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    chunk_count bigint NOT NULL CHECK (chunk_count >= 0),
    term_count bigint NOT NULL CHECK (term_count >= 0)
);
DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['context_postings', 'context_statistics'] LOOP
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
GRANT SELECT, INSERT, UPDATE, DELETE ON context_postings, context_statistics TO copilot_app;
DELETE FROM schema_migrations WHERE version = 12;

COMMIT;
