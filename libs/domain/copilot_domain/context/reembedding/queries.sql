-- name: show_index
-- A tenant's index, with the progress or the failure of its re-embedding. A job that ended without it says why.
SELECT i.model, i.next_model, i.reembed_done AS done, i.reembed_total AS total,
    coalesce(i.reembed_error_code, j.error_code, upper(j.status)) AS error_code,
    coalesce(i.reembed_error, j.error_text, 'The job is ' || j.status || '.') AS error,
    s.chunk_count, s.segments
FROM context_indexes i
LEFT JOIN jobs j ON j.tenant_id = i.tenant_id AND j.id = i.reembed_job_id AND j.status IN ('dead', 'cancelled')
CROSS JOIN (
    SELECT coalesce(sum(chunk_count), 0)::bigint AS chunk_count, count(*) AS segments
    FROM context_segments WHERE tenant_id = %(tenant_id)s AND is_visible
) AS s
WHERE i.tenant_id = %(tenant_id)s

-- name: lock_index
-- Nobody writes vectors, merges or changes models until the transaction ends.
SELECT model, next_model FROM context_indexes WHERE tenant_id = %(tenant_id)s FOR UPDATE

-- name: hold_index
-- No model changes until the transaction ends; in the way of nobody else, not even of a merge.
SELECT model, next_model FROM context_indexes WHERE tenant_id = %(tenant_id)s FOR KEY SHARE

-- name: find_index
-- Which models new chunks need vectors of.
SELECT model, next_model FROM context_indexes WHERE tenant_id = %(tenant_id)s

-- name: has_live_job
-- Whether anybody is, or will be, at it.
SELECT EXISTS (
    SELECT FROM context_indexes i
    JOIN jobs j ON j.tenant_id = i.tenant_id AND j.id = i.reembed_job_id
    WHERE i.tenant_id = %(tenant_id)s AND j.status NOT IN ('completed', 'dead', 'cancelled')
)

-- name: start_reembedding
-- What that job has to do.
UPDATE context_indexes
SET next_model = %(model)s, reembed_job_id = %(job_id)s, reembed_done = 0, reembed_total = 0, reembed_error_code = NULL,
    reembed_error = NULL
WHERE tenant_id = %(tenant_id)s

-- name: give_up_reembedding
-- Searches stay with the model they have.
UPDATE context_indexes
SET next_model = NULL, reembed_job_id = NULL, reembed_done = 0, reembed_total = 0, reembed_error_code = %(code)s,
    reembed_error = %(error)s
WHERE tenant_id = %(tenant_id)s AND next_model = %(model)s

-- name: switch_model
-- From now on searches use the next model.
UPDATE context_indexes
SET model = next_model, next_model = NULL, reembed_job_id = NULL, reembed_done = 0, reembed_total = 0
WHERE tenant_id = %(tenant_id)s

-- name: note_reembedding
-- First in a transaction of a re-embedding; no row where it is no longer wanted.
UPDATE context_indexes SET reembed_done = %(done)s, reembed_total = %(total)s
WHERE tenant_id = %(tenant_id)s AND reembed_job_id = %(job_id)s AND next_model = %(model)s

-- name: find_missing
-- The segments without codes of a model, also those that a merge is writing: one of them may be shown after the switch.
SELECT s.id, s.chunk_count FROM context_segments s
WHERE s.tenant_id = %(tenant_id)s AND NOT EXISTS (
    SELECT FROM context_segment_codes c
    WHERE c.tenant_id = s.tenant_id AND c.segment_id = s.id AND c.model = %(model)s
)
ORDER BY s.id

-- name: count_chunks
-- Of all segments, also those that a merge is writing.
SELECT coalesce(sum(chunk_count), 0)::bigint FROM context_segments WHERE tenant_id = %(tenant_id)s

-- name: read_chunks
-- Some chunks' texts; those that are no more are left out.
SELECT id, text_hash, heading_sealed, text_sealed, end_offset - start_offset AS length
FROM context_chunks
WHERE tenant_id = %(tenant_id)s AND id = ANY (%(ids)s::uuid[])

-- name: find_chunks
-- Which of them are there, being deleted or not.
SELECT id FROM context_chunks WHERE tenant_id = %(tenant_id)s AND id = ANY (%(ids)s::uuid[])

-- name: lock_chunks
-- Those that stay until the transaction ends. One that is being deleted is not waited for: its deleter may wait for us.
SELECT id FROM context_chunks
WHERE tenant_id = %(tenant_id)s AND id = ANY (%(ids)s::uuid[])
FOR KEY SHARE SKIP LOCKED

-- name: fill_embedding
-- A vector of a chunk that may have it already.
INSERT INTO context_embeddings (tenant_id, chunk_id, model, embedding)
VALUES (%(tenant_id)s, %(chunk_id)s, %(model)s, %(embedding)s::vector)
ON CONFLICT DO NOTHING

-- name: fill_wide_embedding
-- The same, of other dimensions.
INSERT INTO context_embeddings_wide (tenant_id, chunk_id, model, embedding)
VALUES (%(tenant_id)s, %(chunk_id)s, %(model)s, %(embedding)s::vector)
ON CONFLICT DO NOTHING

-- name: fill_codes
-- A segment's codes, if it is still there.
INSERT INTO context_segment_codes (tenant_id, segment_id, model, codes)
SELECT s.tenant_id, s.id, %(model)s, %(codes)s FROM context_segments s
WHERE s.tenant_id = %(tenant_id)s AND s.id = %(id)s
ON CONFLICT DO NOTHING

-- name: forget_codes
-- Some segments' codes of a model that is not used any more.
DELETE FROM context_segment_codes c
USING (
    SELECT segment_id FROM context_segment_codes
    WHERE tenant_id = %(tenant_id)s AND model = %(model)s
    LIMIT %(limit)s
) AS old
WHERE c.tenant_id = %(tenant_id)s AND c.segment_id = old.segment_id AND c.model = %(model)s

-- name: forget_embeddings
-- A page of the tenant's vectors, in the order of chunks: those of that model go. Returns the last chunk of the page.
-- What is being deleted with its chunk is not waited for: its deleter may wait for us.
WITH page AS (
    SELECT chunk_id FROM context_embeddings
    WHERE tenant_id = %(tenant_id)s AND chunk_id > %(after)s
    ORDER BY chunk_id
    LIMIT %(limit)s
), old AS (
    SELECT e.chunk_id FROM context_embeddings e JOIN page ON page.chunk_id = e.chunk_id
    WHERE e.tenant_id = %(tenant_id)s AND e.model = %(model)s
    FOR UPDATE OF e SKIP LOCKED
), gone AS (
    DELETE FROM context_embeddings e USING old
    WHERE e.tenant_id = %(tenant_id)s AND e.chunk_id = old.chunk_id AND e.model = %(model)s
)
SELECT chunk_id FROM page ORDER BY chunk_id DESC LIMIT 1

-- name: forget_wide_embeddings
-- The same, of other dimensions.
WITH page AS (
    SELECT chunk_id FROM context_embeddings_wide
    WHERE tenant_id = %(tenant_id)s AND chunk_id > %(after)s
    ORDER BY chunk_id
    LIMIT %(limit)s
), old AS (
    SELECT e.chunk_id FROM context_embeddings_wide e JOIN page ON page.chunk_id = e.chunk_id
    WHERE e.tenant_id = %(tenant_id)s AND e.model = %(model)s
    FOR UPDATE OF e SKIP LOCKED
), gone AS (
    DELETE FROM context_embeddings_wide e USING old
    WHERE e.tenant_id = %(tenant_id)s AND e.chunk_id = old.chunk_id AND e.model = %(model)s
)
SELECT chunk_id FROM page ORDER BY chunk_id DESC LIMIT 1
