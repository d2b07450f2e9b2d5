-- name: find_member
-- A user's present role in a tenant; no row when either is inactive or the membership is gone.
SELECT role FROM dispatch.find_member(%(tenant_id)s, %(user_id)s)

-- name: find_members
-- The same of several.
SELECT u.tenant_id, u.user_id, m.role
FROM unnest(%(tenant_ids)s::uuid[], %(user_ids)s::uuid[]) AS u (tenant_id, user_id)
CROSS JOIN LATERAL dispatch.find_member(u.tenant_id, u.user_id) m

-- name: find_api_key
-- A good API key, with its creator's present role.
SELECT tenant_id, key_id, user_id, role, scopes FROM dispatch.find_api_key(%(key_hash)s)

-- name: find_api_keys
-- The same of several, by their hashes.
SELECT u.key_hash, k.tenant_id, k.key_id, k.user_id, k.role, k.scopes
FROM unnest(%(key_hashes)s::bytea[]) AS u (key_hash)
CROSS JOIN LATERAL dispatch.find_api_key(u.key_hash) k

-- name: find_platform_key
-- A good platform key.
SELECT key_id FROM dispatch.find_platform_key(%(key_hash)s)
