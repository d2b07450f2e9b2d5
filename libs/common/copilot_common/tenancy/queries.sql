-- name: begin
-- Begin a transaction and say whose rows are visible until it ends.
BEGIN;
SELECT
    set_config('app.tenant_id', {tenant_id}, true),
    set_config('app.user_id', {user_id}, true),
    set_config('app.platform', {platform}, true)

-- name: begin_in_background
-- The same, and its COMMIT does not wait for the disk: what a crash of the server takes back is done again.
BEGIN;
SELECT
    set_config('app.tenant_id', {tenant_id}, true),
    set_config('app.user_id', {user_id}, true),
    set_config('app.platform', {platform}, true),
    set_config('synchronous_commit', 'off', true)

-- name: begin_snapshot
-- The same for one that only reads: all its statements see one moment. They take milliseconds, as long as it would take to
-- start processes that share the work.
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SELECT
    set_config('app.tenant_id', {tenant_id}, true),
    set_config('app.user_id', {user_id}, true),
    set_config('app.platform', {platform}, true),
    set_config('max_parallel_workers_per_gather', '0', true)

-- name: begin_read
-- The same for one that only reads, here or on a replica: there it also tells how far that has replayed; null where the
-- server is no replica. Not REPEATABLE READ, whose snapshot would be older than what it tells.
BEGIN READ ONLY;
SELECT
    set_config('app.tenant_id', {tenant_id}, true),
    set_config('app.user_id', {user_id}, true),
    set_config('app.platform', {platform}, true),
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END

-- name: insert_audit
-- One change, with who made it and from where.
INSERT INTO audit_log (
    tenant_id, id, actor_type, actor_id, user_id, action, resource_type, resource_id, address, details
) VALUES (
    %(tenant_id)s, %(id)s, %(actor_type)s, %(actor_id)s, %(user_id)s, %(action)s, %(resource_type)s, %(resource_id)s,
    %(address)s, %(details)s
)
