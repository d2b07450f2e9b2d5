-- name: find_allowed
-- Which items the principal may see and the filters let through, with the attempt that is found.
SELECT i.id, i.live_attempt FROM context_items i
WHERE i.tenant_id = %(tenant_id)s AND i.live_attempt > 0
    AND (i.acl = '{}' OR i.user_id = %(user_id)s OR i.acl && %(identities)s::text[])
    AND (i.expires_at IS NULL OR i.expires_at > now())
    AND (i.collection_id IS NULL OR i.user_id = %(user_id)s OR i.collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
            AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
    AND (%(item_ids)b::uuid[] IS NULL OR i.id = ANY (%(item_ids)b)) AND (%(type)s::text IS NULL OR i.type = %(type)s)
    AND (%(collection_ids)b::uuid[] IS NULL OR i.collection_id = ANY (%(collection_ids)b))
    AND (%(metadata)s::jsonb IS NULL OR i.metadata @> %(metadata)s)

-- name: find_labelled
-- The same of those that have all of these labels. An array, not a join: so its size can't tempt the planner to read all
-- items.
SELECT i.id, i.live_attempt FROM context_items i
WHERE i.tenant_id = %(tenant_id)s AND i.live_attempt > 0
    AND i.id = ANY (ARRAY(
        SELECT l.item_id FROM context_labels l
        WHERE l.tenant_id = %(tenant_id)s AND l.label = ANY (%(labels)b::bigint[])
        GROUP BY l.item_id
        HAVING count(*) = cardinality(%(labels)b::bigint[])
    ))
    AND (i.acl = '{}' OR i.user_id = %(user_id)s OR i.acl && %(identities)s::text[])
    AND (i.expires_at IS NULL OR i.expires_at > now())
    AND (i.collection_id IS NULL OR i.user_id = %(user_id)s OR i.collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
            AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
    AND (%(item_ids)b::uuid[] IS NULL OR i.id = ANY (%(item_ids)b)) AND (%(type)s::text IS NULL OR i.type = %(type)s)
    AND (%(collection_ids)b::uuid[] IS NULL OR i.collection_id = ANY (%(collection_ids)b))
    AND i.metadata @> %(metadata)s::jsonb

-- name: check_candidates
-- Which of these items are live in these attempts, by their number, and whether everybody of the tenant may see them; and
-- of these chunks, live or not, by theirs, the vectors. LATERAL and OFFSET 0: each is looked up by its key, whatever the planner
-- believes of tables it has no statistics of, as after a large import.
SELECT (u.number - 1)::integer AS number,
    i.acl = '{}' AND (i.collection_id IS NULL OR i.collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s AND s.acl = '{}')) AS is_open,
    NULL::vector AS embedding
FROM unnest(%(item_ids)b::uuid[], %(attempts)b::integer[]) WITH ORDINALITY AS u (item_id, attempt, number)
JOIN LATERAL (
    SELECT i.acl, i.expires_at, i.collection_id FROM context_items i
    WHERE i.tenant_id = %(tenant_id)s AND i.id = u.item_id AND i.live_attempt = u.attempt OFFSET 0
) i ON true
WHERE i.expires_at IS NULL OR i.expires_at > now()
UNION ALL
SELECT (u.number - 1)::integer, NULL, e.embedding
FROM unnest(%(chunk_ids)b::uuid[]) WITH ORDINALITY AS u (chunk_id, number)
JOIN LATERAL (
    SELECT e.embedding FROM context_embeddings e
    WHERE e.tenant_id = %(tenant_id)s AND e.chunk_id = u.chunk_id AND e.model = %(model)s OFFSET 0
) e ON true

-- name: check_wide_candidates
-- The same for vectors of other dimensions than the guide's table holds.
SELECT (u.number - 1)::integer AS number,
    i.acl = '{}' AND (i.collection_id IS NULL OR i.collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s AND s.acl = '{}')) AS is_open,
    NULL::vector AS embedding
FROM unnest(%(item_ids)b::uuid[], %(attempts)b::integer[]) WITH ORDINALITY AS u (item_id, attempt, number)
JOIN LATERAL (
    SELECT i.acl, i.expires_at, i.collection_id FROM context_items i
    WHERE i.tenant_id = %(tenant_id)s AND i.id = u.item_id AND i.live_attempt = u.attempt OFFSET 0
) i ON true
WHERE i.expires_at IS NULL OR i.expires_at > now()
UNION ALL
SELECT (u.number - 1)::integer, NULL, e.embedding
FROM unnest(%(chunk_ids)b::uuid[]) WITH ORDINALITY AS u (chunk_id, number)
JOIN LATERAL (
    SELECT e.embedding FROM context_embeddings_wide e
    WHERE e.tenant_id = %(tenant_id)s AND e.chunk_id = u.chunk_id AND e.model = %(model)s OFFSET 0
) e ON true

-- name: check_rights
-- Which of these items, by their number, the principal may see.
SELECT (u.number - 1)::integer AS number
FROM unnest(%(item_ids)b::uuid[]) WITH ORDINALITY AS u (item_id, number)
JOIN LATERAL (
    SELECT i.acl, i.user_id, i.collection_id FROM context_items i
    WHERE i.tenant_id = %(tenant_id)s AND i.id = u.item_id OFFSET 0
) i ON true
WHERE (i.acl = '{}' OR i.user_id = %(user_id)s OR i.acl && %(identities)s::text[])
    AND (i.collection_id IS NULL OR i.user_id = %(user_id)s OR i.collection_id IN (
        SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
            AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))

-- name: show_chunks
-- The chunks that were found, with what is shown of their items.
SELECT c.id, c.item_id, c.number, c.start_offset, c.end_offset, c.token_count, c.page, c.text_hash, c.heading_sealed,
    c.text_sealed, i.name_sealed, i.metadata
FROM unnest(%(ids)b::uuid[]) AS u (id)
JOIN LATERAL (SELECT c.* FROM context_chunks c WHERE c.tenant_id = %(tenant_id)s AND c.id = u.id OFFSET 0) c ON true
JOIN LATERAL (
    SELECT i.name_sealed, i.metadata FROM context_items i
    WHERE i.tenant_id = %(tenant_id)s AND i.id = c.item_id OFFSET 0
) i ON true

-- name: be_modest
-- For the rest of the transaction: what nobody waits for takes one core, and not for long.
SELECT set_config('statement_timeout', %(milliseconds)s::text, true),
    set_config('max_parallel_workers_per_gather', '0', true)

-- name: score_exactly
-- How near the nearest of all chunks are that the principal may find, the nearest first. MATERIALIZED: every vector is
-- compared, where the guide's index (ivfflat) would look at some.
WITH compared AS MATERIALIZED (
    SELECT -(e.embedding <#> %(vector)b::vector) AS score
    FROM context_items i
    JOIN context_chunks c ON c.tenant_id = %(tenant_id)s AND c.item_id = i.id AND c.attempt = i.live_attempt
    JOIN context_embeddings e ON e.tenant_id = %(tenant_id)s AND e.chunk_id = c.id AND e.model = %(model)s
    WHERE i.tenant_id = %(tenant_id)s AND i.live_attempt > 0
        AND (i.acl = '{}' OR i.user_id = %(user_id)s OR i.acl && %(identities)s::text[])
        AND (i.expires_at IS NULL OR i.expires_at > now())
        AND (i.collection_id IS NULL OR i.user_id = %(user_id)s OR i.collection_id IN (
            SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
                AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
)
SELECT score FROM compared ORDER BY score DESC LIMIT %(limit)s

-- name: score_wide_exactly
-- The same for vectors of other dimensions than the guide's table holds.
WITH compared AS MATERIALIZED (
    SELECT -(e.embedding <#> %(vector)b::vector) AS score
    FROM context_items i
    JOIN context_chunks c ON c.tenant_id = %(tenant_id)s AND c.item_id = i.id AND c.attempt = i.live_attempt
    JOIN context_embeddings_wide e ON e.tenant_id = %(tenant_id)s AND e.chunk_id = c.id AND e.model = %(model)s
    WHERE i.tenant_id = %(tenant_id)s AND i.live_attempt > 0
        AND (i.acl = '{}' OR i.user_id = %(user_id)s OR i.acl && %(identities)s::text[])
        AND (i.expires_at IS NULL OR i.expires_at > now())
        AND (i.collection_id IS NULL OR i.user_id = %(user_id)s OR i.collection_id IN (
            SELECT s.id FROM context_collections s WHERE s.tenant_id = %(tenant_id)s
                AND (s.acl = '{}' OR s.user_id = %(user_id)s OR s.acl && %(identities)s::text[])))
)
SELECT score FROM compared ORDER BY score DESC LIMIT %(limit)s
