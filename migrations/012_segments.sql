-- 012_segments: files and URLs as items; what searches read is kept in immutable segments (docs/adr/0024).
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/012_segments.sql
-- or by `copilot migrate up`.
--
-- Items that were ingested before are marked as failed: the new index is written by the ingestion only. Reindex them.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP TABLE context_postings, context_statistics;
TRUNCATE context_chunks, context_embeddings;

-- `source_id` is the blob of the bytes that a file or URL came as, `content_id` that of the text made of them; an item
-- that came as text has the latter only. Every try at a generation is an attempt with a number of
-- its own; `live_attempt` is the one whose chunks are found. `url_sealed` and `validators_sealed` (ETag, Last-Modified) are a URL's.
ALTER TABLE context_items
    DROP COLUMN term_count,
    ADD COLUMN attempt_id uuid,  -- of the ingestion that is at work
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,  -- so many have begun; the last one may be at work
    ADD COLUMN live_attempt integer NOT NULL DEFAULT 0,
    ADD COLUMN source_id uuid,
    ADD COLUMN staged_blob_ids uuid[] NOT NULL DEFAULT '{}',  -- what an ingestion is writing or has left
    ADD COLUMN media_type text,
    ADD COLUMN size_bytes bigint,
    ADD COLUMN url_sealed bytea,
    ADD COLUMN validators_sealed bytea,
    ADD COLUMN fetched_at timestamptz,
    ADD COLUMN progress_done integer NOT NULL DEFAULT 0,
    ADD COLUMN progress_total integer NOT NULL DEFAULT 0;
UPDATE context_items
SET status = 'failed', error_code = 'OUTDATED_INDEX', error = 'It was indexed by an earlier version; reindex it.',
    updated_at = now()
WHERE status = 'ready';
UPDATE context_items SET chunk_count = 0, token_count = 0 WHERE chunk_count > 0;

-- Chunks of an attempt that is not live are either on their way in or on their way out. `text_hash` is keyed: equal
-- chunks of a tenant are embedded once.
ALTER TABLE context_chunks
    ADD COLUMN attempt integer NOT NULL,
    ADD COLUMN page integer,
    ADD COLUMN text_hash bytea NOT NULL,
    DROP CONSTRAINT context_chunks_number_unique,
    ADD CONSTRAINT context_chunks_number_unique UNIQUE (tenant_id, item_id, attempt, number);
CREATE INDEX context_chunks_by_text ON context_chunks (tenant_id, text_hash);

-- Vectors of other dimensions than the guide's table holds. No index: candidates come from the segments' codes.
CREATE TABLE context_embeddings_wide (
    tenant_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    model text NOT NULL,
    embedding vector NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, chunk_id, model),
    FOREIGN KEY (tenant_id, chunk_id) REFERENCES context_chunks ON DELETE CASCADE
);

-- One per tenant: the model its searches use, and how many chunks of its segments are no more. Every segment has codes of
-- `model`. `next_model` is what a re-embedding is making vectors of (docs/adr/0025), by the job `reembed_job_id`.
CREATE TABLE context_indexes (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    model text NOT NULL,
    next_model text CHECK (next_model <> model),
    reembed_job_id uuid,
    reembed_done bigint NOT NULL DEFAULT 0,   -- chunks
    reembed_total bigint NOT NULL DEFAULT 0,
    reembed_error_code text,  -- why the last one came to nothing
    reembed_error text,
    dead_count bigint NOT NULL DEFAULT 0,
    merge_id uuid,            -- which merge is at work, until when it must have shown that it lives
    merge_until timestamptz
);

-- What searches read, in stretches of at most 65 536 chunks that never change; small ones are merged into larger ones.
-- `layout` says which chunks they are, of which items and attempts, and how long. A fresh segment (level 0) carries
-- its posting lists itself, one of a higher level has them in context_postings.
CREATE TABLE context_segments (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    level smallint NOT NULL CHECK (level >= 0),
    chunk_count integer NOT NULL CHECK (chunk_count BETWEEN 1 AND 65536),
    term_total bigint NOT NULL,
    languages text[] NOT NULL,  -- whose stems its terms are
    layout bytea NOT NULL,
    fresh_postings bytea,
    is_visible boolean NOT NULL DEFAULT true,  -- false while a merge is writing it
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CHECK ((level = 0) = (fresh_postings IS NOT NULL))
);
ALTER TABLE context_segments ALTER COLUMN layout SET STORAGE EXTERNAL, ALTER COLUMN fresh_postings SET STORAGE EXTERNAL;

-- Each vector in four bits a component, in the order of the layout.
CREATE TABLE context_segment_codes (
    tenant_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    model text NOT NULL,
    codes bytea NOT NULL,
    PRIMARY KEY (tenant_id, segment_id, model),
    FOREIGN KEY (tenant_id, segment_id) REFERENCES context_segments ON DELETE CASCADE
);
ALTER TABLE context_segment_codes ALTER COLUMN codes SET STORAGE EXTERNAL;

-- `term` is a truncated HMAC under a key of the tenant's; `postings` which chunks of the segment have it, and how often.
CREATE TABLE context_postings (
    tenant_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    term bigint NOT NULL,
    postings bytea NOT NULL,
    PRIMARY KEY (tenant_id, segment_id, term),
    FOREIGN KEY (tenant_id, segment_id) REFERENCES context_segments ON DELETE CASCADE
);
ALTER TABLE context_postings ALTER COLUMN postings SET STORAGE EXTERNAL;

-- What a filter narrows items by: a keyed hash of each scalar in their metadata, by its path.
CREATE TABLE context_labels (
    tenant_id uuid NOT NULL,
    label bigint NOT NULL,
    item_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, label, item_id),
    FOREIGN KEY (tenant_id, item_id) REFERENCES context_items ON DELETE CASCADE
);
CREATE INDEX context_labels_by_item ON context_labels (tenant_id, item_id);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'context_embeddings_wide', 'context_indexes', 'context_segments', 'context_segment_codes', 'context_postings',
        'context_labels'
    ] LOOP
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

GRANT SELECT, INSERT, UPDATE, DELETE ON context_embeddings_wide, context_indexes, context_segments,
    context_segment_codes, context_postings, context_labels TO copilot_app;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (12, 'segments', 12);

COMMIT;
