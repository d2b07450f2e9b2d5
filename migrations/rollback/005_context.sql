-- Undo 005_context: items, chunks, postings and embeddings WITH ALL THEIR DATA; builds made for schema 5 or later stop
-- being ready. The contents' blobs are left, since nothing here owns their table.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION dispatch.fail_abandoned_items;
TRUNCATE context_embeddings;
ALTER TABLE context_embeddings DROP CONSTRAINT context_embeddings_tenant_id_chunk_id_fkey;
DROP TABLE context_postings, context_chunks, context_items, context_statistics;
DELETE FROM schema_migrations WHERE version = 5;

COMMIT;
