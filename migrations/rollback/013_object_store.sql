-- Undo 013_object_store: every blob that is in the object store, WITH ITS CONTENT; its objects stay behind there. Builds
-- made for schema 13 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP TRIGGER note_removal ON blobs;
ALTER TABLE blobs NO FORCE ROW LEVEL SECURITY;
DELETE FROM blobs WHERE object_count IS NOT NULL;
ALTER TABLE blobs FORCE ROW LEVEL SECURITY;
ALTER TABLE blobs DROP COLUMN object_count;
DROP FUNCTION dispatch.note_blob_removal();
DROP FUNCTION dispatch.claim_blob_removals(integer);
DROP FUNCTION dispatch.finish_blob_removal(uuid, uuid);
DROP TABLE blob_removals;
DELETE FROM schema_migrations WHERE version = 13;

COMMIT;
