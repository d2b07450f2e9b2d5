-- name: insert_collection
-- A new collection; its name is sealed.
INSERT INTO context_collections (tenant_id, id, user_id, name_sealed, acl)
VALUES (%(tenant_id)s, %(id)s, %(user_id)s, %(name_sealed)s, %(acl)s)
RETURNING id, user_id, name_sealed, acl, created_at, updated_at

-- name: get_collection
-- One collection that the principal may see.
SELECT id, user_id, name_sealed, acl, created_at, updated_at
FROM context_collections
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])

-- name: lock_collection
-- The same, for a change of it: until the transaction ends nobody else changes it, nor puts an item into it.
SELECT id, user_id, name_sealed, acl, created_at, updated_at
FROM context_collections
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
FOR UPDATE

-- name: hold_collection
-- The same, for putting an item into it: until the transaction ends nobody deletes it.
SELECT id FROM context_collections
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
FOR KEY SHARE

-- name: list_collections
-- The newest first, of those the principal may see. Ids are in the order of creation; without a cursor `before` is
-- greater than all of them.
SELECT id, user_id, name_sealed, acl, created_at, updated_at
FROM context_collections
WHERE tenant_id = %(tenant_id)s AND id < %(before)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_seen_collections
-- How many of them there are.
SELECT count(*)::integer FROM context_collections
WHERE tenant_id = %(tenant_id)s AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])

-- name: count_collections
-- How many the tenant has, seen or not: at most some thousand, by the service's bound.
SELECT count(*)::integer FROM context_collections WHERE tenant_id = %(tenant_id)s

-- name: update_collection
-- Replace what may be changed.
UPDATE context_collections SET name_sealed = %(name_sealed)s, acl = %(acl)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, acl, created_at, updated_at

-- name: count_items_of
-- How many items are in it, whoever may see them, counted up to a limit.
SELECT count(*)::integer FROM (
    SELECT FROM context_items WHERE tenant_id = %(tenant_id)s AND collection_id = %(id)s LIMIT %(count_limit)s
) AS counted

-- name: delete_collection
-- It is empty.
DELETE FROM context_collections WHERE tenant_id = %(tenant_id)s AND id = %(id)s
