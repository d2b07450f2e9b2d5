-- name: find_tenant
-- A tenant by its slug or id.
SELECT id, name, slug, status, context_max_items, context_max_bytes, context_max_chunks, created_at, updated_at
FROM tenants
WHERE slug = %(named)s OR id::text = %(named)s

-- name: list_tenants
-- Tenants, the newest first.
SELECT id, name, slug, status, context_max_items, context_max_bytes, context_max_chunks, created_at, updated_at
FROM tenants
ORDER BY id DESC
LIMIT %(limit)s

-- name: tenant_figures
-- What a tenant holds.
SELECT
    (SELECT count(*) FROM memberships WHERE tenant_id = %(tenant_id)s) AS members,
    (SELECT count(*) FROM api_keys
        WHERE tenant_id = %(tenant_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    ) AS api_keys,
    (SELECT count(*) FROM conversations WHERE tenant_id = %(tenant_id)s) AS conversations,
    (SELECT count(*) FROM messages WHERE tenant_id = %(tenant_id)s) AS messages,
    (SELECT max(at) FROM llm_calls WHERE tenant_id = %(tenant_id)s) AS last_answer_at

-- name: find_user
-- A user by e-mail or username.
SELECT id, email, username, is_active, created_at, last_login_at
FROM users
WHERE email = %(named)s OR username = %(named)s

-- name: list_users
-- Users and their memberships, one row each, the oldest account first; of one tenant where `tenant_id` is given.
SELECT u.id, u.email, u.username, u.is_active, u.created_at, u.last_login_at, t.slug AS tenant, m.role
FROM users u
LEFT JOIN (memberships m JOIN tenants t ON t.id = m.tenant_id) ON m.user_id = u.id
WHERE %(tenant_id)s::uuid IS NULL OR m.tenant_id = %(tenant_id)s
ORDER BY u.id, m.created_at
LIMIT %(limit)s

-- name: set_password
-- A new password.
UPDATE users SET password_hash = %(password_hash)s WHERE id = %(user_id)s

-- name: set_active
-- Whether a user may log in and their keys work, in every tenant.
UPDATE users SET is_active = %(is_active)s WHERE id = %(user_id)s

-- name: end_sessions
-- Every session of a user, in every tenant.
UPDATE refresh_tokens SET revoked_at = now() WHERE user_id = %(user_id)s AND revoked_at IS NULL

-- name: tenants_of_user
-- Where a user is a member.
SELECT tenant_id FROM memberships WHERE user_id = %(user_id)s ORDER BY tenant_id
