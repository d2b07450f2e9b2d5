-- Undo 001_initial: every table, function and policy, WITH ALL DATA. Roles and the vector extension are left: other
-- databases of the cluster, or other objects of this one, may use them. Back up first: pg_dump.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL client_min_messages = warning;

DROP SCHEMA dispatch CASCADE;
DROP TABLE
    context_embeddings, idempotency_keys, llm_calls, message_feedback, messages, conversations, processes, audit_log,
    platform_keys, api_keys, refresh_tokens, invites, memberships, users, tenants, schema_migrations;
DROP SCHEMA copilot_keys CASCADE;

COMMIT;
