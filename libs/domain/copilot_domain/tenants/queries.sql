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
RETURNING id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, true AS is_active

-- name: find_login
-- A user by e-mail or username, once per membership in an active tenant, the oldest first.
SELECT user_id, password_hash, is_active, tenant_id, tenant_slug, role FROM dispatch.find_login(%(identifier)s)

-- name: get_user
-- The transaction's own user.
SELECT id, username, email, is_active, email_verified, created_at, last_login_at
FROM users
WHERE id = %(user_id)s

-- name: note_login
-- When the transaction's own user last logged in.
UPDATE users SET last_login_at = now() WHERE id = %(user_id)s

-- name: update_password_hash
-- The same password under today's parameters.
UPDATE users SET password_hash = %(password_hash)s WHERE id = %(user_id)s

-- name: find_member
-- A user's present role in a tenant; no row when either is inactive or the membership is gone.
SELECT role FROM dispatch.find_member(%(tenant_id)s, %(user_id)s)

-- name: insert_refresh_token
-- A refresh token begins: the first of a family, or a successor.
INSERT INTO refresh_tokens (tenant_id, id, family_id, user_id, expires_at)
VALUES (%(tenant_id)s, %(token_id)s, %(family_id)s, %(user_id)s, now() + make_interval(secs => %(ttl_seconds)s))

-- name: lock_refresh_token
-- A refresh token and what happened to it. Locked: of two parallel uses one sees what the other did.
SELECT
    id, family_id, successor_id,
    revoked_at IS NOT NULL OR expires_at <= now() AS is_ended,
    spent_at IS NOT NULL AS is_spent,
    spent_at > now() - interval '10 seconds' AS is_just_spent
FROM refresh_tokens
WHERE tenant_id = %(tenant_id)s AND id = %(token_id)s AND user_id = %(user_id)s
FOR UPDATE

-- name: spend_refresh_token
-- A refresh token gives way to its successor.
UPDATE refresh_tokens SET spent_at = now(), successor_id = %(successor_id)s
WHERE tenant_id = %(tenant_id)s AND id = %(token_id)s

-- name: revoke_family
-- Ends a session: every refresh token of its family. Touches no row when it has ended already.
UPDATE refresh_tokens SET revoked_at = now()
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND family_id = %(family_id)s AND revoked_at IS NULL

-- name: list_api_keys
-- API keys that were not revoked, the newest first: the user's own, or everybody's where `user_id` is null.
SELECT
    id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at,
    expires_at IS NULL OR expires_at > now() AS is_active
FROM api_keys
WHERE tenant_id = %(tenant_id)s AND revoked_at IS NULL
    AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
    AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_api_keys
-- How many `list_api_keys` has, at most `up_to`.
SELECT count(*) FROM (
    SELECT FROM api_keys
    WHERE tenant_id = %(tenant_id)s AND revoked_at IS NULL AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
    LIMIT %(up_to)s
) AS counted

-- name: revoke_api_key
-- Ends an API key: the user's own, or anybody's where `user_id` is null.
UPDATE api_keys SET revoked_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(key_id)s AND revoked_at IS NULL
    AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)

-- name: list_members
-- The tenant's members by user id, from their oldest account on.
SELECT user_id, email, username, role, is_active, created_at
FROM dispatch.list_members(%(after)s, %(offset)s, %(limit)s)

-- name: count_members
-- How many members the tenant has, at most `up_to`.
SELECT count(*) FROM (SELECT FROM memberships WHERE tenant_id = %(tenant_id)s LIMIT %(up_to)s) AS counted

-- name: get_member
-- One member of the tenant; `just_before` is the id before theirs, so that only their row is read.
SELECT user_id, email, username, role, is_active, created_at
FROM dispatch.list_members(%(just_before)s, 0, 1)
WHERE user_id = %(user_id)s

-- name: lock_owners
-- The tenant's owners. Locked, so that two owners cannot remove each other at the same time.
SELECT user_id FROM memberships WHERE tenant_id = %(tenant_id)s AND role = 'owner' ORDER BY user_id FOR UPDATE

-- name: lock_member
-- A member's present role.
SELECT role FROM memberships WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s FOR UPDATE

-- name: update_role
-- A member gets another role.
UPDATE memberships SET role = %(role)s WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s

-- name: delete_member
-- A member leaves; API keys and sessions go with the membership.
DELETE FROM memberships WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s

-- name: insert_invite
-- An invite; its token is its ids and a MAC, so nothing of it is kept here.
INSERT INTO invites (tenant_id, id, email, role, invited_by, expires_at)
VALUES (
    %(tenant_id)s, %(invite_id)s, %(email)s, %(role)s, %(invited_by)s, now() + make_interval(days => %(ttl_days)s)
)
RETURNING id, email, role, invited_by, created_at, expires_at, accepted_at

-- name: list_invites
-- The tenant's invites, the newest first.
SELECT id, email, role, invited_by, created_at, expires_at, accepted_at
FROM invites
WHERE tenant_id = %(tenant_id)s AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_invites
-- How many invites the tenant has, at most `up_to`.
SELECT count(*) FROM (SELECT FROM invites WHERE tenant_id = %(tenant_id)s LIMIT %(up_to)s) AS counted

-- name: delete_invite
-- Withdraws an invite.
DELETE FROM invites WHERE tenant_id = %(tenant_id)s AND id = %(invite_id)s

-- name: lock_invite
-- An invite and whether it is still good. Locked: it is used once. No row where its tenant is suspended.
SELECT i.email, i.role, i.accepted_at IS NOT NULL AS is_used, i.expires_at <= now() AS is_expired
FROM invites i
JOIN tenants t ON t.id = i.tenant_id AND t.status = 'active'
WHERE i.tenant_id = %(tenant_id)s AND i.id = %(invite_id)s
FOR UPDATE OF i

-- name: accept_invite
-- An invite is used.
UPDATE invites SET accepted_at = now() WHERE tenant_id = %(tenant_id)s AND id = %(invite_id)s

-- name: get_tenant
-- One tenant that this principal may see.
SELECT id, name, slug, status, context_max_items, context_max_bytes, context_max_chunks, created_at, updated_at
FROM tenants WHERE id = %(tenant_id)s

-- name: list_tenants
-- Every tenant that this principal may see, the newest first.
SELECT id, name, slug, status, context_max_items, context_max_bytes, context_max_chunks, created_at, updated_at
FROM tenants
WHERE %(before)s::uuid IS NULL OR id < %(before)s
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_tenants
-- How many tenants there are, at most `up_to`.
SELECT count(*) FROM (SELECT FROM tenants LIMIT %(up_to)s) AS counted

-- name: update_tenant
-- Another name or status; null leaves it as it is.
UPDATE tenants
SET name = coalesce(%(name)s, name), status = coalesce(%(status)s, status), updated_at = now()
WHERE id = %(tenant_id)s
RETURNING id, name, slug, status, context_max_items, context_max_bytes, context_max_chunks, created_at, updated_at

-- name: set_context_quota
-- What it may have in its context; null as the settings say.
UPDATE tenants
SET context_max_items = %(max_items)s, context_max_bytes = %(max_bytes)s, context_max_chunks = %(max_chunks)s,
    updated_at = now()
WHERE id = %(tenant_id)s

-- name: lock_tenant
-- One tenant, for a change of it.
SELECT id, name, slug, status, context_max_items, context_max_bytes, context_max_chunks, created_at, updated_at
FROM tenants WHERE id = %(tenant_id)s
FOR NO KEY UPDATE

-- name: delete_tenant
-- A tenant and all its rows, but for its audit log and its wrapped keys.
DELETE FROM tenants WHERE id = %(tenant_id)s

-- name: enter_tenant
-- From here on this transaction sees that tenant's rows.
SELECT set_config('app.tenant_id', %(tenant_id)s::text, true)
