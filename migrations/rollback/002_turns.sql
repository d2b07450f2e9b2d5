-- Undo 002_turns: the functions of an answer. No data is lost; builds made for schema 2 or later stop being ready.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

DROP SCHEMA turn CASCADE;
DELETE FROM schema_migrations WHERE version = 2;

COMMIT;
