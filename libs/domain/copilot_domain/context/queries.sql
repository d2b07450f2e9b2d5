-- name: insert_item
-- A new item that nobody has been asked to ingest yet; name and content are sealed.
INSERT INTO context_items (
    tenant_id, id, user_id, name_sealed, type, metadata, acl, content_id, content_hash, source_id, media_type,
    size_bytes, url_sealed
) VALUES (
    %(tenant_id)s, %(id)s, %(user_id)s, %(name_sealed)s, %(type)s, %(metadata)s, %(acl)s, %(content_id)s,
    %(content_hash)s, %(source_id)s, %(media_type)s, %(size_bytes)s, %(url_sealed)s
)
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    live_attempt, chunk_count, token_count, created_at, updated_at

-- name: get_item
-- One item that the principal may see.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    live_attempt, chunk_count, token_count, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])

-- name: lock_item
-- The same, for a change of it: until the transaction ends no ingestion writes its chunks.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    live_attempt, chunk_count, token_count, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
FOR UPDATE

-- name: list_items
-- The newest first, of those the principal may see. Ids are in the order of creation; without a cursor `before` is
-- greater than all of them.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    live_attempt, chunk_count, token_count, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id < %(before)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
    AND (%(type)s::text IS NULL OR type = %(type)s) AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_items
-- How many there are of such, counted up to a limit.
SELECT count(*)::integer FROM (
    SELECT 1 FROM context_items
    WHERE tenant_id = %(tenant_id)s
        AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
        AND (%(type)s::text IS NULL OR type = %(type)s) AND (%(status)s::text IS NULL OR status = %(status)s)
        AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
    LIMIT %(count_limit)s
) AS visible

-- name: update_item
-- Replace what its creator may change.
UPDATE context_items
SET name_sealed = %(name_sealed)s, metadata = %(metadata)s, acl = %(acl)s, content_id = %(content_id)s,
    source_id = %(source_id)s, content_hash = %(content_hash)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    live_attempt, chunk_count, token_count, created_at, updated_at

-- name: request_ingestion
-- To be ingested anew: what was begun for an earlier generation changes nothing from now on.
UPDATE context_items
SET status = 'pending', error_code = NULL, error = NULL, generation = generation + 1, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    live_attempt, chunk_count, token_count, created_at, updated_at

-- name: note_job
-- Which job ingests the item's present generation.
UPDATE context_items SET job_id = %(job_id)s WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: delete_item
-- Gone with its chunks and embeddings. What segments hold of it is dead from now on.
WITH gone AS (
    DELETE FROM context_items WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    RETURNING tenant_id, chunk_count
)
UPDATE context_indexes x SET dead_count = x.dead_count + gone.chunk_count
FROM gone
WHERE x.tenant_id = gone.tenant_id

-- name: set_labels
-- What filters find it by; those it had before are gone.
WITH gone AS (
    DELETE FROM context_labels
    WHERE tenant_id = %(tenant_id)s AND item_id = %(id)s AND label <> ALL (%(labels)s::bigint[])
)
INSERT INTO context_labels (tenant_id, label, item_id)
SELECT %(tenant_id)s, label, %(id)s FROM unnest(%(labels)s::bigint[]) AS l (label)
ON CONFLICT DO NOTHING

-- name: item_state
-- How far one item is; no row where the principal may not see it, or is no member any more.
SELECT status, error_code, error, progress_done, progress_total
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
    AND EXISTS (SELECT FROM memberships m WHERE m.tenant_id = %(tenant_id)s AND m.user_id = %(user_id)s)
