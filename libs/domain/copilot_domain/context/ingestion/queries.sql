-- name: begin_ingestion
-- The item, if that generation of it is still to be ingested, and the models that its tenant's index has and is to have.
-- Whoever began an attempt at it before is overtaken.
UPDATE context_items
SET status = 'processing', error_code = NULL, error = NULL, attempt_id = %(attempt_id)s, attempts = attempts + 1,
    progress_done = 0, progress_total = 0, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND generation = %(generation)s AND status <> 'ready'
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    source_id, staged_blob_ids, media_type, size_bytes, url_sealed, validators_sealed, generation, attempts,
    refresh_seconds, fetched_at, next_fetch_at, live_hash, live_tokenizer,
    live_attempt, chunk_count, token_count, collection_id, expires_at, created_at, updated_at,
    ARRAY(SELECT unnest(ARRAY[x.model, x.next_model]) FROM context_indexes x WHERE x.tenant_id = %(tenant_id)s) AS models

-- name: hold_attempt
-- Nobody else changes the item until the transaction ends; no row where it has moved on.
SELECT id FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND attempt_id = %(attempt_id)s AND status = 'processing'
    AND generation = %(generation)s
FOR UPDATE

-- name: fail_ingestion
-- That generation came to nothing; the chunks of the one before stay findable. An attempt may say so only of itself.
UPDATE context_items
SET status = 'failed', error_code = %(error_code)s, error = %(error)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND generation = %(generation)s AND status <> 'ready'
    AND attempt_id IS NOT DISTINCT FROM coalesce(%(attempt_id)s::uuid, attempt_id)

-- name: stage_blob
-- A blob that is about to be written for the item: what becomes of it is settled by this attempt, or by the next.
UPDATE context_items SET staged_blob_ids = staged_blob_ids || %(blob_id)s::uuid
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND attempt_id = %(attempt_id)s AND status = 'processing'

-- name: unstage_blobs
-- What an attempt that died has left is deleted in this transaction.
UPDATE context_items SET staged_blob_ids = '{}' WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: note_source
-- What was fetched takes the place of what was there.
UPDATE context_items
SET source_id = %(source_id)s, staged_blob_ids = array_remove(staged_blob_ids, %(source_id)s::uuid),
    media_type = %(media_type)s, size_bytes = %(size_bytes)s, content_hash = %(content_hash)s,
    validators_sealed = %(validators_sealed)s, fetched_at = now(), updated_at = now(), fetch_failures = 0,
    next_fetch_at = now() + make_interval(secs => refresh_seconds * (1 + random() / 10))
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND attempt_id = %(attempt_id)s AND status = 'processing'

-- name: note_fetch
-- It was asked for and is as it was.
UPDATE context_items
SET fetched_at = now(), fetch_failures = 0,
    next_fetch_at = now() + make_interval(secs => refresh_seconds * (1 + random() / 10))
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND attempt_id = %(attempt_id)s AND status = 'processing'

-- name: note_progress
-- How many chunks of how many are embedded.
UPDATE context_items SET progress_done = %(done)s, progress_total = %(total)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: find_vectors
-- Vectors of chunks with the same text, whatever their item.
SELECT u.text_hash, e.embedding
FROM unnest(%(hashes)b::bytea[]) AS u (text_hash)
JOIN LATERAL (
    SELECT e.embedding FROM context_chunks c
    JOIN context_embeddings e ON e.tenant_id = c.tenant_id AND e.chunk_id = c.id AND e.model = %(model)s
    WHERE c.tenant_id = %(tenant_id)s AND c.text_hash = u.text_hash
    LIMIT 1
) e ON true

-- name: find_wide_vectors
-- The same for vectors of other dimensions.
SELECT u.text_hash, e.embedding
FROM unnest(%(hashes)b::bytea[]) AS u (text_hash)
JOIN LATERAL (
    SELECT e.embedding FROM context_chunks c
    JOIN context_embeddings_wide e ON e.tenant_id = c.tenant_id AND e.chunk_id = c.id AND e.model = %(model)s
    WHERE c.tenant_id = %(tenant_id)s AND c.text_hash = u.text_hash
    LIMIT 1
) e ON true

-- name: insert_chunks
-- Many chunks at once; their texts and headings are sealed.
INSERT INTO context_chunks (
    tenant_id, item_id, attempt, id, number, start_offset, end_offset, token_count, page, text_hash, heading_sealed,
    text_sealed
)
SELECT %(tenant_id)s, %(id)s, %(attempt)s, c.*
FROM unnest(
    %(ids)b::uuid[], %(numbers)b::integer[], %(starts)b::integer[], %(ends)b::integer[], %(token_counts)b::integer[],
    %(pages)b::integer[], %(hashes)b::bytea[], %(headings)b::bytea[], %(texts)b::bytea[]
) AS c

-- name: insert_embeddings
-- Many chunks' vectors, whose numbers come one vector after the other.
INSERT INTO context_embeddings (tenant_id, chunk_id, model, embedding)
SELECT %(tenant_id)s, c.id, %(model)s,
    (%(numbers)b::real[])[(c.place - 1) * %(dimensions)s::integer + 1 : c.place * %(dimensions)s::integer]::vector
FROM unnest(%(ids)b::uuid[]) WITH ORDINALITY AS c (id, place)

-- name: insert_wide_embeddings
-- The same, of other dimensions.
INSERT INTO context_embeddings_wide (tenant_id, chunk_id, model, embedding)
SELECT %(tenant_id)s, c.id, %(model)s,
    (%(numbers)b::real[])[(c.place - 1) * %(dimensions)s::integer + 1 : c.place * %(dimensions)s::integer]::vector
FROM unnest(%(ids)b::uuid[]) WITH ORDINALITY AS c (id, place)

-- name: finish_ingestion
-- From now on its chunks are those of this attempt. A text that was to take another's place has it.
UPDATE context_items
SET status = 'ready', live_attempt = %(attempt)s, content_id = %(content_id)s,
    source_id = nullif(source_id, %(content_id)s), staged_blob_ids = '{}',
    live_hash = content_hash, live_tokenizer = %(tokenizer)s,
    chunk_count = %(chunk_count)s, token_count = %(token_count)s, progress_done = %(chunk_count)s,
    progress_total = %(chunk_count)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: keep_chunks
-- What was fetched is what its chunks were cut from: they stay.
UPDATE context_items
SET status = 'ready', staged_blob_ids = '{}', progress_done = chunk_count, progress_total = chunk_count,
    updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: purge_chunks
-- Some chunks that are not live, with their embeddings: of attempts that were replaced, or that died.
DELETE FROM context_chunks c
USING (
    SELECT c.id FROM context_chunks c
    JOIN context_items i ON i.tenant_id = %(tenant_id)s AND i.id = c.item_id
    WHERE c.tenant_id = %(tenant_id)s AND c.item_id = %(id)s AND c.attempt <> i.live_attempt
        AND (i.status <> 'processing' OR i.attempt_id = %(attempt_id)s)
    LIMIT %(limit)s
) AS gone
WHERE c.tenant_id = %(tenant_id)s AND c.id = gone.id
