-- name: lock_servers
-- First in a transaction that adds one: their number is limited, and there may be no row to lock yet.
SELECT pg_advisory_xact_lock(hashtextextended('copilot mcp servers ' || %(tenant_id)s::text, 0))

-- name: insert_server
-- A new server, its URL and headers sealed; nothing where its name is taken.
INSERT INTO mcp_servers (tenant_id, id, user_id, name, url_sealed, headers_sealed)
VALUES (%(tenant_id)s, %(id)s, %(user_id)s, %(name)s, %(url_sealed)s, %(headers_sealed)s)
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING id, user_id, name, url_sealed, headers_sealed, created_at

-- name: count_servers
-- How many the tenant has: a handful, by the service's bound.
SELECT count(*)::integer FROM mcp_servers WHERE tenant_id = %(tenant_id)s

-- name: list_servers
-- Newest first; without a cursor `before` lies after all ids.
SELECT id, user_id, name, url_sealed, headers_sealed, created_at
FROM mcp_servers WHERE tenant_id = %(tenant_id)s AND id < %(before)s
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: find_server
-- The server that a definition names.
SELECT id, user_id, name, url_sealed, headers_sealed, created_at
FROM mcp_servers WHERE tenant_id = %(tenant_id)s AND name = %(name)s

-- name: delete_server
-- Steps that name it fail from now on.
DELETE FROM mcp_servers WHERE tenant_id = %(tenant_id)s AND id = %(id)s
