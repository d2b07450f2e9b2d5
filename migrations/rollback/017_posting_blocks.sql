-- Undo 017_posting_blocks: a row for each posting list again, all of them copied; builds made for schema 17 or later stop
-- being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

LOCK TABLE context_indexes IN SHARE MODE;
DROP VIEW context_postings;
DROP FUNCTION insert_posting_block();

CREATE TABLE context_postings (
    tenant_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    term bigint NOT NULL,
    postings bytea NOT NULL,
    PRIMARY KEY (tenant_id, segment_id, term)
);
ALTER TABLE context_postings ALTER COLUMN postings SET STORAGE EXTERNAL;

ALTER TABLE context_postings ENABLE ROW LEVEL SECURITY;
ALTER TABLE context_postings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation_context_postings ON context_postings TO copilot_app
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON context_postings TO copilot_app;

INSERT INTO context_postings (tenant_id, segment_id, term, postings)
SELECT b.tenant_id, b.segment_id, p.term, p.postings
FROM context_posting_blocks b CROSS JOIN LATERAL unnest(b.terms, b.postings) AS p (term, postings);

LOCK TABLE context_segments IN ACCESS EXCLUSIVE MODE;
ALTER TABLE context_postings
    ADD FOREIGN KEY (tenant_id, segment_id) REFERENCES context_segments ON DELETE CASCADE;
DROP TABLE context_posting_blocks;
DELETE FROM schema_migrations WHERE version = 17;

COMMIT;
