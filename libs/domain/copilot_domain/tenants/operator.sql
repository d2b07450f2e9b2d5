-- name: lock_bootstrap
-- One bootstrap at a time: two at once would both find no tenant.
SELECT pg_advisory_xact_lock(hashtext('copilot bootstrap'))

-- name: find_bootstrapped
-- A tenant of that slug and its longest-standing owner.
SELECT t.id AS tenant_id, m.user_id
FROM tenants t
JOIN memberships m ON m.tenant_id = t.id AND m.role = 'owner'
WHERE t.slug = %(slug)s
ORDER BY m.created_at, m.user_id
LIMIT 1

-- name: find_user_by_email
-- The user with that e-mail.
SELECT id FROM users WHERE email = %(email)s

-- name: insert_platform_key
-- A new platform key: its hash only.
INSERT INTO platform_keys (id, name, prefix, key_hash) VALUES (%(key_id)s, %(name)s, %(prefix)s, %(key_hash)s)

-- name: list_platform_keys
-- Every platform key, the newest first.
SELECT id, name, prefix, created_at, expires_at, last_used_at, revoked_at
FROM platform_keys
ORDER BY id DESC

-- name: revoke_platform_key
-- Ends a platform key that is good; touches no row where there is none.
UPDATE platform_keys SET revoked_at = now() WHERE id = %(key_id)s AND revoked_at IS NULL
