-- 017_posting_blocks: posting lists of neighbouring terms in one row (docs/adr/0040). While all there are are copied,
-- searches and ingestion go on; merges wait, and what takes chunks away (docs/upgrading.md).

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- `terms` are truncated HMACs under a key of the tenant's, and rise; `postings`, of each, which chunks of the segment have
-- it, and how often. Four blocks fit a page, but one long list is a block.
CREATE TABLE context_posting_blocks (
    tenant_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    first_term bigint NOT NULL,
    terms bigint[] NOT NULL,
    postings bytea[] NOT NULL,
    PRIMARY KEY (tenant_id, segment_id, first_term)
);
ALTER TABLE context_posting_blocks ALTER COLUMN terms SET STORAGE EXTERNAL, ALTER COLUMN postings SET STORAGE EXTERNAL;

ALTER TABLE context_posting_blocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE context_posting_blocks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation_context_posting_blocks ON context_posting_blocks TO copilot_app
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON context_posting_blocks TO copilot_app;

-- Whoever writes postings or deletes segments changes the index's row first, and waits there, holding nothing else.
LOCK TABLE context_indexes IN SHARE MODE;

-- A long list is alone in its block; of others as many are together as take 1 250 bytes, and the one that goes beyond.
INSERT INTO context_posting_blocks (tenant_id, segment_id, first_term, terms, postings)
SELECT tenant_id, segment_id, min(term), array_agg(term ORDER BY term), array_agg(postings ORDER BY term)
FROM (
    SELECT tenant_id, segment_id, term, postings,
        count(*) FILTER (WHERE length(postings) > 600) OVER up_to AS long_ones,
        length(postings) > 600 AS is_long,
        sum(16 + length(postings)) FILTER (WHERE length(postings) <= 600) OVER up_to / 1250 AS share
    FROM context_postings
    WINDOW up_to AS (PARTITION BY tenant_id, segment_id ORDER BY term)
) AS placed
GROUP BY tenant_id, segment_id, long_ones, is_long, share;

-- In the order in which searches read them.
LOCK TABLE context_segments IN ACCESS EXCLUSIVE MODE;
ALTER TABLE context_posting_blocks
    ADD FOREIGN KEY (tenant_id, segment_id) REFERENCES context_segments ON DELETE CASCADE;
DROP TABLE context_postings;

-- What builds for earlier schemas read and write, slowly, until the last of them is gone.
CREATE VIEW context_postings WITH (security_invoker = true) AS
SELECT b.tenant_id, b.segment_id, p.term, p.postings
FROM context_posting_blocks b CROSS JOIN LATERAL unnest(b.terms, b.postings) AS p (term, postings);
GRANT SELECT, INSERT ON context_postings TO copilot_app;

CREATE FUNCTION insert_posting_block() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.context_posting_blocks (tenant_id, segment_id, first_term, terms, postings)
    VALUES (NEW.tenant_id, NEW.segment_id, NEW.term, ARRAY[NEW.term], ARRAY[NEW.postings]);
    RETURN NEW;
END $$;
CREATE TRIGGER insert_posting_block INSTEAD OF INSERT ON context_postings
FOR EACH ROW EXECUTE FUNCTION insert_posting_block();

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (17, 'posting_blocks', 14);

COMMIT;
