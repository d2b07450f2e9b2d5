-- 005_context: the tenant's own documents, cut into chunks, found by words and by meaning.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/005_context.sql
-- or by `copilot migrate up`.
--
-- Columns ending in `_sealed` are ciphertexts under the tenant's data key, bound to the row. What is not sealed here and
-- what it leaks stands in docs/adr/0002-envelope-encryption.md.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- `generation` rises whenever the item is to be ingested anew: an ingestion that was begun for an older one changes
-- nothing. `content_hash` is keyed, so it tells two equal contents of one tenant and nothing else. `acl` is empty for all
-- members, else a list of `user:<id>` and `role:<name>`. The counts are those of the chunks that are there now.
CREATE TABLE context_items (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    user_id uuid NOT NULL REFERENCES users,
    name_sealed bytea NOT NULL,
    type text NOT NULL CHECK (type IN ('text', 'code', 'document', 'file', 'url')),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'ready', 'failed')),
    error_code text,
    error text,            -- for the user: never content, never a foreign exception's words
    metadata jsonb NOT NULL DEFAULT '{}',
    acl text[] NOT NULL DEFAULT '{}',
    content_id uuid,       -- the blob; null until there is one
    content_hash bytea,
    generation integer NOT NULL DEFAULT 0,  -- 0: nobody has been asked to ingest it yet
    job_id uuid,           -- that ingests this generation
    chunk_count integer NOT NULL DEFAULT 0,
    token_count integer NOT NULL DEFAULT 0,
    term_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

-- `text[start:end]` of the item's text, in characters. The texts lie apart (TOAST), so that a search, which reads many
-- rows and shows few, does not read them; they are ciphertexts, so compressing them is not tried.
CREATE TABLE context_chunks (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    item_id uuid NOT NULL,
    number integer NOT NULL,  -- from 1, in the order of the text
    start_offset integer NOT NULL,
    end_offset integer NOT NULL,
    token_count integer NOT NULL,
    heading_sealed bytea,     -- the headings it stands under; null where there are none
    text_sealed bytea NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT context_chunks_number_unique UNIQUE (tenant_id, item_id, number),
    CHECK (0 <= start_offset AND start_offset < end_offset),
    FOREIGN KEY (tenant_id, item_id) REFERENCES context_items ON DELETE CASCADE
) WITH (toast_tuple_target = 128);
ALTER TABLE context_chunks ALTER COLUMN text_sealed SET STORAGE EXTERNAL;
ALTER TABLE context_chunks ALTER COLUMN heading_sealed SET STORAGE EXTERNAL;

-- One row per chunk and different term of it. `term` is a truncated HMAC under a key of the tenant's that is used for
-- nothing else; `tf` is how often the chunk has it, `length` how many terms the chunk has altogether.
-- The first index holds all that BM25 reads. The second is for the cascade; its entries of one chunk are stored as one.
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

-- What BM25 must know of the whole: kept by the statements that write and delete chunks, in their transaction.
CREATE TABLE context_statistics (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    chunk_count bigint NOT NULL CHECK (chunk_count >= 0),
    term_count bigint NOT NULL CHECK (term_count >= 0)
);

-- The table and its index are those of 001 and of the deployment guide; nothing has written there before this version.
ALTER TABLE context_embeddings
    ADD FOREIGN KEY (tenant_id, chunk_id) REFERENCES context_chunks ON DELETE CASCADE;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'context_items', 'context_chunks', 'context_postings', 'context_statistics'
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

GRANT SELECT, INSERT, UPDATE, DELETE ON context_items, context_chunks, context_postings, context_statistics
    TO copilot_app;

-- Items whose job has ended without them (every process that ran it was lost, or an admin's redrive never came): failed,
-- in one bounded batch. Returns how many.
CREATE INDEX context_items_unfinished ON context_items (tenant_id, id) WHERE status IN ('pending', 'processing');
GRANT SELECT (tenant_id, id, status, job_id), UPDATE (status, error_code, error, updated_at) ON context_items
    TO copilot_dispatch;
CREATE POLICY dispatch_sees_context_items ON context_items FOR SELECT TO copilot_dispatch
    USING (status IN ('pending', 'processing', 'failed'));
CREATE POLICY dispatch_fails_context_items ON context_items FOR UPDATE TO copilot_dispatch
    USING (status IN ('pending', 'processing')) WITH CHECK (status = 'failed');
CREATE FUNCTION dispatch.fail_abandoned_items(p_limit integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    WITH abandoned AS (
        SELECT i.tenant_id, i.id FROM public.context_items i
        JOIN public.jobs j ON j.tenant_id = i.tenant_id AND j.id = i.job_id AND j.status IN ('dead', 'cancelled')
        WHERE i.status IN ('pending', 'processing')
        LIMIT p_limit
        FOR UPDATE OF i SKIP LOCKED
    )
    UPDATE public.context_items i
    SET status = 'failed', error_code = 'WORKER_LOST', error = 'It could not be ingested.', updated_at = now()
    FROM abandoned a
    WHERE i.tenant_id = a.tenant_id AND i.id = a.id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
REVOKE ALL ON FUNCTION dispatch.fail_abandoned_items FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatch.fail_abandoned_items TO copilot_app;
ALTER FUNCTION dispatch.fail_abandoned_items OWNER TO copilot_dispatch;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (5, 'context', 1);

COMMIT;
