-- name: tenant_keys
-- All data keys of a tenant, wrapped.
SELECT key_id, wrapped FROM copilot_keys.tenant_keys WHERE tenant_id = %(tenant_id)s

-- name: any_data_key
-- Some tenant's data key, wrapped; no row where there is none.
SELECT tenant_id, key_id, wrapped FROM dispatch.any_data_key()

-- name: insert_tenant_key
-- A tenant's first data key; a second attempt changes nothing.
INSERT INTO copilot_keys.tenant_keys (tenant_id, key_id, wrapped)
VALUES (%(tenant_id)s, 1, %(wrapped)s)
ON CONFLICT DO NOTHING
