-- name: list_audit
-- The tenant's audit rows that match every filter given, the newest first.
SELECT id, at, actor_type, actor_id, user_id, action, resource_type, resource_id, address, details
FROM audit_log
WHERE tenant_id = %(tenant_id)s
    AND (%(before)s::uuid IS NULL OR id < %(before)s)
    AND (%(actor)s::uuid IS NULL OR actor_id = %(actor)s)
    AND (%(user)s::uuid IS NULL OR user_id = %(user)s)
    AND (%(action)s::text IS NULL OR action = %(action)s)
    AND (%(resource_type)s::text IS NULL OR resource_type = %(resource_type)s)
    AND (%(resource_id)s::uuid IS NULL OR resource_id = %(resource_id)s)
    AND (%(address)s::text IS NULL OR address = %(address)s)
    AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_audit
-- How many rows match every filter given, at most `up_to`.
SELECT count(*) FROM (
    SELECT FROM audit_log
    WHERE tenant_id = %(tenant_id)s
        AND (%(actor)s::uuid IS NULL OR actor_id = %(actor)s)
        AND (%(user)s::uuid IS NULL OR user_id = %(user)s)
        AND (%(action)s::text IS NULL OR action = %(action)s)
        AND (%(resource_type)s::text IS NULL OR resource_type = %(resource_type)s)
        AND (%(resource_id)s::uuid IS NULL OR resource_id = %(resource_id)s)
        AND (%(address)s::text IS NULL OR address = %(address)s)
        AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
    LIMIT %(up_to)s
) AS counted
