-- name: insert_claim
-- The first request with this key begins; touches no row where there is one.
INSERT INTO idempotency_keys (tenant_id, principal_id, method, path, key, id, request_hash, process_id)
VALUES (
    %(tenant_id)s, %(principal_id)s, %(method)s, %(path)s, %(key)s, %(id)s, %(request_hash)s, %(process_id)s
)
ON CONFLICT DO NOTHING

-- name: lock_claim
-- What the earlier request came to. `is_lapsed`: it may be taken over, since its process is dead, it has run longer than
-- any request may (a message's claim ends with its turn, not with its answer), or its answer has been kept long enough.
SELECT
    id, request_hash, status, body_sealed, resource_id,
    CASE
        WHEN created_at < now() - interval '24 hours' THEN true
        WHEN status IS NOT NULL THEN false
        ELSE created_at < now() - interval '1 minute' OR NOT dispatch.process_is_alive(process_id)
    END AS is_lapsed
FROM idempotency_keys
WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s
    AND method = %(method)s AND path = %(path)s AND key = %(key)s
FOR UPDATE

-- name: take_over_claim
-- A lapsed claim begins anew; its new id fences off whoever held it.
UPDATE idempotency_keys
SET id = %(id)s, request_hash = %(request_hash)s, process_id = %(process_id)s,
    status = NULL, body_sealed = NULL, resource_id = NULL, created_at = now()
WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s
    AND method = %(method)s AND path = %(path)s AND key = %(key)s

-- name: finish_claim
-- The answer, in the transaction of the work; touches no row when the claim was taken over.
UPDATE idempotency_keys
SET status = %(status)s, body_sealed = %(body_sealed)s, resource_id = %(resource_id)s
WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s
    AND method = %(method)s AND path = %(path)s AND key = %(key)s
    AND id = %(id)s AND status IS NULL

-- name: release_claim
-- The work was not done: the key is free again.
DELETE FROM idempotency_keys
WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s
    AND method = %(method)s AND path = %(path)s AND key = %(key)s
    AND id = %(id)s AND status IS NULL

-- name: discard_claim
-- What the finished claim stood for has failed: the key is free again.
DELETE FROM idempotency_keys
WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s
    AND method = %(method)s AND path = %(path)s AND key = %(key)s
    AND id = %(id)s
