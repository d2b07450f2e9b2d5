-- Undo 016_key_check: processes can no longer ask whether their ENCRYPTION_KEY is the database's; builds made for schema 16
-- or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP FUNCTION dispatch.any_data_key();
DROP POLICY dispatch_sees_tenant_keys ON copilot_keys.tenant_keys;
REVOKE SELECT (tenant_id, key_id, wrapped) ON copilot_keys.tenant_keys FROM copilot_dispatch;
REVOKE USAGE ON SCHEMA copilot_keys FROM copilot_dispatch;
DELETE FROM schema_migrations WHERE version = 16;

COMMIT;
