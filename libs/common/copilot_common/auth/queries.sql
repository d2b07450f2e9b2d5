-- name: find_member
-- A user's present role in a tenant; no row when either is inactive or the membership is gone.
SELECT role FROM dispatch.find_member(%(tenant_id)s, %(user_id)s)

-- name: find_api_key
-- A good API key, with its creator's present role.
SELECT tenant_id, key_id, user_id, role, scopes FROM dispatch.find_api_key(%(key_hash)s)

-- name: find_platform_key
-- A good platform key.
SELECT key_id FROM dispatch.find_platform_key(%(key_hash)s)
