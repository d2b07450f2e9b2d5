-- Undo 015_quotas: the tenants' own quotas, and when pages are fetched again; builds made for schema 15 or later stop
-- being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION dispatch.due_pages(uuid, integer, integer, integer);
DROP POLICY dispatch_sees_refreshed_items ON context_items;
REVOKE SELECT (next_fetch_at, refresh_user_id) ON context_items FROM copilot_dispatch;
DROP TRIGGER count_item ON context_items;
DROP TRIGGER count_item_change ON context_items;
DROP FUNCTION dispatch.count_context_item();
DROP TABLE context_usage;
ALTER TABLE context_items
    DROP CONSTRAINT context_items_refreshed,
    DROP COLUMN refresh_seconds, DROP COLUMN refresh_user_id, DROP COLUMN next_fetch_at, DROP COLUMN fetch_failures,
    DROP COLUMN live_hash, DROP COLUMN live_tokenizer;
ALTER TABLE tenants
    DROP COLUMN context_max_items, DROP COLUMN context_max_bytes, DROP COLUMN context_max_chunks;
DELETE FROM schema_migrations WHERE version = 15;

COMMIT;
