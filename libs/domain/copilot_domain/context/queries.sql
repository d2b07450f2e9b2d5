-- name: insert_item
-- A new item that nobody has been asked to ingest yet; name and content are sealed.
INSERT INTO context_items (
    tenant_id, id, user_id, name_sealed, type, metadata, acl, content_id, content_hash
) VALUES (
    %(tenant_id)s, %(id)s, %(user_id)s, %(name_sealed)s, %(type)s, %(metadata)s, %(acl)s, %(content_id)s,
    %(content_hash)s
)
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    generation, chunk_count, token_count, created_at, updated_at

-- name: get_item
-- One item that the principal may see.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    generation, chunk_count, token_count, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])

-- name: lock_item
-- The same, for a change of it: until the transaction ends no ingestion writes its chunks.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    generation, chunk_count, token_count, created_at, updated_at
FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (acl = '{}' OR user_id = %(user_id)s OR acl && %(identities)s::text[])
FOR UPDATE

-- name: list_items
-- The newest first, of those the principal may see. Ids are in the order of creation; without a cursor `before` is
-- greater than all of them.
SELECT id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    generation, chunk_count, token_count, created_at, updated_at
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
    content_hash = %(content_hash)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    generation, chunk_count, token_count, created_at, updated_at

-- name: request_ingestion
-- To be ingested anew: what was begun for an earlier generation changes nothing from now on.
UPDATE context_items
SET status = 'pending', error_code = NULL, error = NULL, generation = generation + 1, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    generation, chunk_count, token_count, created_at, updated_at

-- name: note_job
-- Which job ingests the item's present generation.
UPDATE context_items SET job_id = %(job_id)s WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: delete_item
-- Gone with its chunks, postings and embeddings, and out of the statistics. The item is locked before the statistics, as
-- by an ingestion.
WITH gone AS (
    DELETE FROM context_items WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    RETURNING tenant_id, chunk_count, term_count
)
UPDATE context_statistics s
SET chunk_count = s.chunk_count - gone.chunk_count, term_count = s.term_count - gone.term_count
FROM gone
WHERE s.tenant_id = gone.tenant_id

-- name: begin_ingestion
-- The item, if that generation of it is still to be ingested. Also where an earlier attempt at it failed or died.
UPDATE context_items
SET status = 'processing', error_code = NULL, error = NULL, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND generation = %(generation)s AND status <> 'ready'
RETURNING id, user_id, name_sealed, type, status, error_code, error, metadata, acl, content_id, content_hash,
    generation, chunk_count, token_count, created_at, updated_at

-- name: fail_ingestion
-- That generation came to nothing; the chunks of the one before stay findable.
UPDATE context_items
SET status = 'failed', error_code = %(error_code)s, error = %(error)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND generation = %(generation)s AND status <> 'ready'

-- name: lock_generation
-- Nobody else changes the item until the transaction ends; no row where it has moved on.
SELECT id FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND generation = %(generation)s AND status <> 'ready'
FOR UPDATE

-- name: delete_chunks
-- The item's chunks with their postings and embeddings.
DELETE FROM context_chunks WHERE tenant_id = %(tenant_id)s AND item_id = %(id)s

-- name: insert_chunk
-- One chunk; its text and its headings are sealed.
INSERT INTO context_chunks (
    tenant_id, id, item_id, number, start_offset, end_offset, token_count, heading_sealed, text_sealed
) VALUES (
    %(tenant_id)s, %(id)s, %(item_id)s, %(number)s, %(start_offset)s, %(end_offset)s, %(token_count)s,
    %(heading_sealed)s, %(text_sealed)s
)

-- name: insert_postings
-- Many postings at once.
INSERT INTO context_postings (tenant_id, chunk_id, tf, length, term)
SELECT %(tenant_id)s, p.chunk_id, p.tf, p.length, p.term
FROM unnest(%(chunk_ids)s::uuid[], %(tfs)s::smallint[], %(lengths)s::smallint[], %(terms)s::bytea[])
    AS p (chunk_id, tf, length, term)

-- name: insert_embedding
-- One chunk's vector.
INSERT INTO context_embeddings (tenant_id, chunk_id, model, embedding)
VALUES (%(tenant_id)s, %(chunk_id)s, %(model)s, %(embedding)s::vector)

-- name: begin_statistics
-- A tenant's first chunk needs a row to count in.
INSERT INTO context_statistics (tenant_id, chunk_count, term_count) VALUES (%(tenant_id)s, 0, 0)
ON CONFLICT DO NOTHING

-- name: finish_ingestion
-- The item is ready, and the statistics differ by what it has more or less than before. Last in its transaction, since
-- all of a tenant's ingestions meet in this one row.
WITH before AS (
    SELECT chunk_count, term_count FROM context_items WHERE tenant_id = %(tenant_id)s AND id = %(id)s
), item AS (
    UPDATE context_items
    SET status = 'ready', chunk_count = %(chunk_count)s, token_count = %(token_count)s, term_count = %(term_count)s,
        updated_at = now()
    WHERE tenant_id = %(tenant_id)s AND id = %(id)s
)
UPDATE context_statistics s
SET chunk_count = s.chunk_count + %(chunk_count)s - before.chunk_count,
    term_count = s.term_count + %(term_count)s - before.term_count
FROM before
WHERE s.tenant_id = %(tenant_id)s

-- name: search_text
-- The best chunks by BM25 (k1 = 1.2, b = 0.75) of those the principal may see. How rare a term is and how long chunks are
-- on average is that of the whole tenant, whatever the filters. Reads the postings of the terms, from one index.
WITH found AS MATERIALIZED (
    SELECT term, chunk_id, tf, length
    FROM context_postings
    WHERE tenant_id = %(tenant_id)s AND term = ANY (%(terms)s::bytea[])
), whole AS (
    SELECT chunk_count, term_count::float8 / greatest(chunk_count, 1) AS average_length
    FROM context_statistics
    WHERE tenant_id = %(tenant_id)s
), weights AS (
    SELECT found.term, ln(1 + (whole.chunk_count - count(*) + 0.5::float8) / (count(*) + 0.5::float8)) AS idf
    FROM found CROSS JOIN whole
    GROUP BY found.term, whole.chunk_count
), scored AS (
    SELECT found.chunk_id,
        sum(idf * found.tf * 2.2::float8 / (found.tf + 1.2::float8 * (0.25 + 0.75 * found.length / average_length)))
            AS score
    FROM found JOIN weights ON weights.term = found.term CROSS JOIN whole
    GROUP BY found.chunk_id
)
SELECT c.id, s.score
FROM scored s
JOIN context_chunks c ON c.tenant_id = %(tenant_id)s AND c.id = s.chunk_id
JOIN context_items i ON i.tenant_id = %(tenant_id)s AND i.id = c.item_id
WHERE (i.acl = '{}' OR i.user_id = %(user_id)s OR i.acl && %(identities)s::text[])
    AND (%(item_ids)s::uuid[] IS NULL OR i.id = ANY (%(item_ids)s)) AND (%(type)s::text IS NULL OR i.type = %(type)s)
    AND (%(metadata)s::jsonb IS NULL OR i.metadata @> %(metadata)s)
ORDER BY s.score DESC, c.id
LIMIT %(limit)s

-- name: search_vectors
-- The nearest chunks by cosine, of those the principal may see. Exact: MATERIALIZED keeps the order from being taken from
-- the index over all tenants, which would look at a few lists of it and find almost nothing of a small tenant.
WITH candidates AS MATERIALIZED (
    SELECT c.id, 1 - (e.embedding <=> %(embedding)s::vector) AS score
    FROM context_embeddings e
    JOIN context_chunks c ON c.tenant_id = %(tenant_id)s AND c.id = e.chunk_id
    JOIN context_items i ON i.tenant_id = %(tenant_id)s AND i.id = c.item_id
    WHERE e.tenant_id = %(tenant_id)s AND e.model = %(model)s
        AND (i.acl = '{}' OR i.user_id = %(user_id)s OR i.acl && %(identities)s::text[])
        AND (%(item_ids)s::uuid[] IS NULL OR i.id = ANY (%(item_ids)s))
        AND (%(type)s::text IS NULL OR i.type = %(type)s)
        AND (%(metadata)s::jsonb IS NULL OR i.metadata @> %(metadata)s)
)
SELECT id, score FROM candidates ORDER BY score DESC, id LIMIT %(limit)s

-- name: show_chunks
-- The chunks that were found, with what is shown of their items.
SELECT c.id, c.item_id, c.start_offset, c.end_offset, c.token_count, c.heading_sealed, c.text_sealed, i.name_sealed,
    i.metadata
FROM context_chunks c
JOIN context_items i ON i.tenant_id = %(tenant_id)s AND i.id = c.item_id
WHERE c.tenant_id = %(tenant_id)s AND c.id = ANY (%(ids)s::uuid[])
