-- Undo 011_mcp: every MCP server that was registered. Builds made for schema 11 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP TABLE mcp_servers;
DELETE FROM schema_migrations WHERE version = 11;

COMMIT;
