-- Undo 004_blobs: every blob WITH ITS CONTENT. Builds made for schema 4 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION dispatch.prune_blobs(integer);
DROP TABLE blob_pieces, blobs;
DELETE FROM schema_migrations WHERE version = 4;

COMMIT;
