-- Undo 006_webhooks: every webhook, its secret and its deliveries. Builds made for schema 6 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION dispatch.prune_deliveries(integer);
DROP TABLE webhook_deliveries, webhooks;
DELETE FROM schema_migrations WHERE version = 6;

COMMIT;
