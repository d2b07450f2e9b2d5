-- Undo 014_collections: collections, and items that have expired; builds made for schema 14 or later stop being ready.
-- What a collection's access list hid is seen by its creator alone from now on; no item expires any more.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DELETE FROM blobs b
USING context_items i
WHERE i.expires_at <= now() AND b.tenant_id = i.tenant_id
    AND b.id = ANY (i.staged_blob_ids || ARRAY[i.source_id, i.content_id]);
UPDATE context_indexes x SET dead_count = x.dead_count + gone.chunks
FROM (SELECT tenant_id, sum(chunk_count) AS chunks FROM context_items WHERE expires_at <= now() GROUP BY tenant_id) gone
WHERE x.tenant_id = gone.tenant_id;
DELETE FROM context_items WHERE expires_at <= now();
UPDATE context_items i SET acl = ARRAY['user:' || i.user_id]
FROM context_collections c
WHERE c.tenant_id = i.tenant_id AND c.id = i.collection_id AND c.acl <> '{}';

-- A text that was to take another's place when it is ready takes it now: builds before read it from there.
DELETE FROM blobs b
USING context_items i
WHERE i.type NOT IN ('file', 'url') AND i.source_id IS NOT NULL AND b.tenant_id = i.tenant_id AND b.id = i.content_id;
UPDATE context_items SET content_id = source_id, source_id = NULL
WHERE type NOT IN ('file', 'url') AND source_id IS NOT NULL;

DROP FUNCTION dispatch.expired_items;
DROP POLICY dispatch_sees_expired_items ON context_items;
REVOKE SELECT (user_id) ON context_items FROM copilot_dispatch;
ALTER TABLE context_items DROP COLUMN collection_id, DROP COLUMN expires_at;
DROP TABLE context_collections;
DELETE FROM schema_migrations WHERE version = 14;

COMMIT;
