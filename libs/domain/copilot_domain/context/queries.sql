-- name: insert_item
-- A new item that nobody has been asked to ingest yet; name and content are sealed.
INSERT INTO context_items (
    tenant_id, id, user_id, name_sealed, type, metadata, acl, content_id, content_hash, source_id, media_type,
    size_bytes, url_sealed, refresh_seconds, refresh_user_id, next_fetch_at, collection_id, expires_at
) VALUES (
    %(tenant_id)s, %(id)s, %(user_id)s, %(name_sealed)s, %(type)s, %(metadata)s, %(acl)s, %(content_id)s,
    %(content_hash)s, %(source_id)s, %(media_type)s, %(size_bytes)s, %(url_sealed)s,
    %(refresh_seconds)s, %(refresh_user_id)s,
    now() + make_interval(secs => %(refresh_seconds)s::integer * (1 + random() / 10)),
    %(collection_id)s, %(expires_at)s
)
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at

-- name: get_item
-- One item that the principal may see.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
    AND (expires_at IS NULL OR expires_at > now())
    AND (collection_id IS NULL OR user_id = %(user_id)s OR collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
            AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))

-- name: lock_item
-- The same, for a change of it: until the transaction ends no ingestion writes its chunks.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
    AND (expires_at IS NULL OR expires_at > now())
    AND (collection_id IS NULL OR user_id = %(user_id)s OR collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
            AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
FOR UPDATE

-- name: list_items
-- The newest first, of those the principal may see. Ids are in the order of creation; without a cursor `before` is
-- greater than all of them.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id < %(before)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
    AND (expires_at IS NULL OR expires_at > now())
    AND (collection_id IS NULL OR user_id = %(user_id)s OR collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
            AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
    AND (%(type)s::text IS NULL OR type = %(type)s) AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
    AND (%(collection_id)s::uuid IS NULL OR collection_id = %(collection_id)s)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_items
-- How many there are of such, counted up to a limit.
SELECT count(*)::integer FROM (
    SELECT 1 FROM context_items
    WHERE tenant_id = %(tenant_id)s
        AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
        AND (expires_at IS NULL OR expires_at > now())
        AND (collection_id IS NULL OR user_id = %(user_id)s OR collection_id IN (
            SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
                AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
        AND (%(type)s::text IS NULL OR type = %(type)s) AND (%(status)s::text IS NULL OR status = %(status)s)
        AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
        AND (%(collection_id)s::uuid IS NULL OR collection_id = %(collection_id)s)
    LIMIT %(count_limit)s
) AS visible

-- name: update_item
-- Replace what its creator may change.
UPDATE context_items
SET name_sealed = %(name_sealed)s, metadata = %(metadata)s, acl = %(acl)s, content_id = %(content_id)s,
    source_id = %(source_id)s, content_hash = %(content_hash)s, size_bytes = %(size_bytes)s,
    collection_id = %(collection_id)s, expires_at = %(expires_at)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at

-- name: request_ingestion
-- To be ingested anew: what was begun for an earlier generation changes nothing from now on.
UPDATE context_items
SET status = 'pending', error_code = NULL, error = NULL, generation = generation + 1, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at

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
    AND (expires_at IS NULL OR expires_at > now())
    AND (collection_id IS NULL OR user_id = %(user_id)s OR collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
            AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
    AND EXISTS (SELECT FROM memberships m WHERE m.tenant_id = %(tenant_id)s AND m.user_id = %(user_id)s)

-- name: find_expired
-- Some items of all tenants that have expired, after that place in their order; each with whom its deletion acts for.
SELECT tenant_id, id, user_id, expires_at
FROM dispatch.expired_items(%(after_at)s, %(after_tenant)s, %(after_id)s, %(limit)s)

-- name: lock_expired
-- One of them, to be deleted; no row where somebody else has it, or it does not expire any more.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND expires_at <= now()
FOR UPDATE SKIP LOCKED

-- name: set_refresh
-- When it is fetched again, and as whom; by null not any more. What was missed meanwhile is due at once.
UPDATE context_items
SET refresh_seconds = %(refresh_seconds)s, refresh_user_id = %(refresh_user_id)s, fetch_failures = 0,
    next_fetch_at = coalesce(fetched_at, now())
        + make_interval(secs => %(refresh_seconds)s::integer * (1 + random() / 10))
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: due_pages
-- Pages that are due, of some tenants from one on; the last row says where to go on.
SELECT tenant_id, id, user_id FROM dispatch.due_pages(%(after)s, %(tenants)s, %(of_tenant)s, %(limit)s)

-- name: hold_due_page
-- An item that is due and nobody is ingesting, locked. None where it is not, or somebody has it. `role` is what the user
-- is now as whom it would be fetched, null where they are nothing.
SELECT m.role, t.status = 'active' AS is_tenant_active
FROM context_items i
JOIN tenants t ON t.id = i.tenant_id
LEFT JOIN LATERAL dispatch.find_member(i.tenant_id, i.refresh_user_id) m ON true
WHERE i.tenant_id = %(tenant_id)s AND i.id = %(id)s AND i.next_fetch_at <= now() AND i.status IN ('ready', 'failed')
FOR NO KEY UPDATE OF i SKIP LOCKED

-- name: set_next_fetch
-- It is due again later: each fetch that did not end well doubles the time, up to a day where it is not longer anyway.
-- The fetch that ends well sets it anew.
UPDATE context_items
SET next_fetch_at = now() + make_interval(secs => (1 + random() / 10) * least(
        refresh_seconds * power(2, fetch_failures), greatest(refresh_seconds, 86400))),
    fetch_failures = least(fetch_failures + 1, 20)
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: end_refresh
-- Nobody may fetch it any more: it waits for somebody who sets its time anew.
UPDATE context_items SET next_fetch_at = NULL WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: find_usage
-- What a tenant has, and its own limits.
SELECT coalesce(u.items, 0) AS items, coalesce(u.bytes, 0) AS bytes, coalesce(u.chunks, 0) AS chunks,
    t.context_max_items AS max_items, t.context_max_bytes AS max_bytes, t.context_max_chunks AS max_chunks
FROM tenants t
LEFT JOIN context_usage u ON u.tenant_id = t.id
WHERE t.id = %(tenant_id)s

-- name: hold_usage
-- The same; nobody adds or takes anything until the transaction ends. No row where the tenant never had anything.
SELECT u.items, u.bytes, u.chunks, t.context_max_items AS max_items, t.context_max_bytes AS max_bytes,
    t.context_max_chunks AS max_chunks
FROM tenants t
JOIN context_usage u ON u.tenant_id = t.id
WHERE t.id = %(tenant_id)s
FOR NO KEY UPDATE OF u

-- name: begin_usage
-- A tenant's first row.
INSERT INTO context_usage (tenant_id) VALUES (%(tenant_id)s) ON CONFLICT DO NOTHING
