-- name: find_members
-- Users' present roles in tenants; no row when either is inactive or the membership is gone.
SELECT u.tenant_id, u.user_id, m.role
FROM unnest(%(tenant_ids)s::uuid[], %(user_ids)s::uuid[]) AS u (tenant_id, user_id)
CROSS JOIN LATERAL dispatch.find_member(u.tenant_id, u.user_id) m

-- name: find_api_keys
-- Good API keys by their hashes, with their creators' present roles.
SELECT u.key_hash, k.tenant_id, k.key_id, k.user_id, k.role, k.scopes
FROM unnest(%(key_hashes)s::bytea[]) AS u (key_hash)
CROSS JOIN LATERAL dispatch.find_api_key(u.key_hash) k

-- name: find_platform_key
-- A good platform key.
SELECT key_id FROM dispatch.find_platform_key(%(key_hash)s)
