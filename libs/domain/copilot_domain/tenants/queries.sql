-- name: insert_tenant
-- A new tenant. Its first data key and its owner belong in the same transaction.
INSERT INTO tenants (id, name, slug) VALUES (%(tenant_id)s, %(name)s, %(slug)s)

-- name: insert_user
-- A new user; e-mail and username lower-case. The transaction's user must be this one.
INSERT INTO users (id, email, username, password_hash)
VALUES (%(user_id)s, %(email)s, %(username)s, %(password_hash)s)

-- name: insert_membership
-- A user joins a tenant; one who is in it keeps the present role (then no row is touched).
INSERT INTO memberships (tenant_id, user_id, role)
VALUES (%(tenant_id)s, %(user_id)s, %(role)s)
ON CONFLICT DO NOTHING

-- name: insert_api_key
-- A new API key: its hash and what it may do.
INSERT INTO api_keys (tenant_id, id, user_id, name, prefix, key_hash, scopes, expires_at)
VALUES (
    %(tenant_id)s, %(key_id)s, %(user_id)s, %(name)s, %(prefix)s, %(key_hash)s, %(scopes)s,
    now() + make_interval(days => %(expires_in_days)s::integer)
)
RETURNING id, name, prefix, scopes, created_at, expires_at, last_used_at, true AS is_active
