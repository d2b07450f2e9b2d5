-- name: server_version
-- `16.14`, without what the packager has added.
SELECT split_part(current_setting('server_version'), ' ', 1)

-- name: unwalled_tables
-- Tables of tenants (and of tenants and users themselves) on which row-level security is not forced, or has no policy.
SELECT c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'copilot_keys')
    AND (
        c.relname IN ('tenants', 'users')
        OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum > 0)
    )
    AND NOT (
        c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
    )
ORDER BY c.relname

-- name: count_tenant_tables
-- How many tables `unwalled_tables` looks at.
SELECT count(*)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'copilot_keys')
    AND (
        c.relname IN ('tenants', 'users')
        OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum > 0)
    )

-- name: clock
-- The database's clock.
SELECT clock_timestamp()

-- name: any_tenant_with_key
-- Some tenant that has a data key.
SELECT tenant_id FROM copilot_keys.tenant_keys LIMIT 1

-- name: living_services
-- The services of which at least one process holds its lease.
SELECT DISTINCT service FROM processes WHERE lease_expires_at > now()
