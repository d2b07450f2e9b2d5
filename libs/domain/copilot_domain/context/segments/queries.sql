-- name: insert_segment
-- A segment and, where it is fresh, its posting lists.
INSERT INTO context_segments (
    tenant_id, id, level, chunk_count, term_total, languages, layout, fresh_postings, is_visible
) VALUES (
    %(tenant_id)s, %(id)s, %(level)s, %(chunk_count)s, %(term_total)s, %(languages)s, %(layout)s, %(fresh_postings)s,
    %(is_visible)s
)

-- name: insert_codes
-- The codes of its vectors under one model: four bits a component.
INSERT INTO context_segment_codes (tenant_id, segment_id, model, codes)
VALUES (%(tenant_id)s, %(id)s, %(model)s, %(codes)s)
ON CONFLICT (tenant_id, segment_id, model) DO UPDATE SET codes = excluded.codes

-- name: insert_postings
-- Many terms' posting lists of one segment, in blocks of neighbours.
INSERT INTO context_posting_blocks (tenant_id, segment_id, first_term, terms, postings)
SELECT %(tenant_id)s, %(id)s, min(p.term), array_agg(p.term ORDER BY p.term), array_agg(p.postings ORDER BY p.term)
FROM unnest(%(terms)b::bigint[], %(postings)b::bytea[], %(blocks)b::integer[]) AS p (term, postings, block)
GROUP BY p.block

-- name: list_segments
-- What a search reads, the oldest first, the model whose codes each has, and how many chunks of all are no more.
SELECT s.id, s.level, s.chunk_count, s.term_total, s.languages, i.model, i.dead_count
FROM context_segments s
JOIN context_indexes i ON i.tenant_id = %(tenant_id)s
WHERE s.tenant_id = %(tenant_id)s AND s.is_visible
ORDER BY s.id

-- name: sum_segments
-- How many are fresh, how large they and all are, and how many chunks of all are no more.
SELECT count(*) FILTER (WHERE s.level = 0) AS fresh_count,
    coalesce(sum(s.chunk_count) FILTER (WHERE s.level = 0), 0)::bigint AS fresh_chunks,
    coalesce(sum(s.chunk_count), 0)::bigint AS chunks, i.dead_count
FROM context_indexes i
LEFT JOIN context_segments s ON s.tenant_id = %(tenant_id)s AND s.is_visible
WHERE i.tenant_id = %(tenant_id)s
GROUP BY i.dead_count

-- name: load_segments
-- What of them is kept in memory.
SELECT id, layout, fresh_postings FROM context_segments
WHERE tenant_id = %(tenant_id)s AND id = ANY (%(ids)b::uuid[])

-- name: load_codes
-- The same, of one model.
SELECT segment_id AS id, codes FROM context_segment_codes
WHERE tenant_id = %(tenant_id)s AND segment_id = ANY (%(ids)b::uuid[]) AND model = %(model)s

-- name: find_postings
-- The posting lists of a query's terms, and the number of the segment that each is in: in the last block that begins
-- with the term or before it, or nowhere.
SELECT t.term, s.number::integer - 1, b.postings[width_bucket(t.term, b.terms)]
FROM unnest(%(ids)b::uuid[]) WITH ORDINALITY AS s (id, number)
CROSS JOIN unnest(%(terms)b::bigint[]) AS t (term)
JOIN LATERAL (
    SELECT terms, postings FROM context_posting_blocks
    WHERE tenant_id = %(tenant_id)s AND segment_id = s.id AND first_term <= t.term
    ORDER BY first_term DESC
    LIMIT 1
) AS b ON b.terms[width_bucket(t.term, b.terms)] = t.term

-- name: scan_postings
-- All posting lists of a segment within a range of terms, one after the other: their terms, their sizes in bytes, and
-- they, in the same order. A row for each would cost a merge more than all the rest.
SELECT string_agg(int8send(p.term), '') AS terms, string_agg(int4send(length(p.postings)), '') AS sizes,
    string_agg(p.postings, '') AS postings
FROM context_posting_blocks b
CROSS JOIN LATERAL unnest(b.terms, b.postings) AS p (term, postings)
WHERE b.tenant_id = %(tenant_id)s AND b.segment_id = %(id)s AND p.term BETWEEN %(low)s AND %(high)s
    AND b.first_term <= %(high)s AND b.first_term >= coalesce((
        SELECT max(first_term) FROM context_posting_blocks
        WHERE tenant_id = %(tenant_id)s AND segment_id = %(id)s AND first_term <= %(low)s
    ), %(low)s)

-- name: find_attempts
-- Which attempts of items are live, and which are on their way in.
SELECT id, live_attempt, attempts FROM context_items
WHERE tenant_id = %(tenant_id)s AND id = ANY (%(ids)b::uuid[])

-- name: drop_unfinished
-- What a merge that died has left.
DELETE FROM context_segments WHERE tenant_id = %(tenant_id)s AND NOT is_visible

-- name: show_segment
-- The merged one takes the place of those it was made of, which go in the same transaction.
UPDATE context_segments SET is_visible = true WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: delete_segments
-- With their codes and postings.
DELETE FROM context_segments WHERE tenant_id = %(tenant_id)s AND id = ANY (%(ids)b::uuid[])

-- name: find_models
-- Of which models all of these segments have codes.
SELECT coalesce(array_agg(model), '{}') FROM (
    SELECT model FROM context_segment_codes
    WHERE tenant_id = %(tenant_id)s AND segment_id = ANY (%(ids)b::uuid[])
    GROUP BY model
    HAVING count(*) = cardinality(%(ids)b::uuid[])
) AS complete

-- name: begin_index
-- A tenant's first item.
INSERT INTO context_indexes (tenant_id, model) VALUES (%(tenant_id)s, %(model)s) ON CONFLICT DO NOTHING

-- name: count_dead
-- Chunks that are in segments and no more, or (negative) have left with a merge.
UPDATE context_indexes SET dead_count = greatest(0, dead_count + %(count)s) WHERE tenant_id = %(tenant_id)s

-- name: forget_dead
-- There are none.
UPDATE context_indexes SET dead_count = 0 WHERE tenant_id = %(tenant_id)s

-- name: claim_merge
-- Merges of a tenant take turns.
UPDATE context_indexes SET merge_id = %(merge_id)s, merge_until = now() + make_interval(secs => %(seconds)s)
WHERE tenant_id = %(tenant_id)s AND (merge_until IS NULL OR merge_until < now())

-- name: hold_merge
-- First in every transaction of a merge; no row where another one has taken its place.
UPDATE context_indexes SET merge_until = now() + make_interval(secs => %(seconds)s)
WHERE tenant_id = %(tenant_id)s AND merge_id = %(merge_id)s

-- name: end_merge
-- The next one need not wait for the lease to lapse.
UPDATE context_indexes SET merge_until = NULL
WHERE tenant_id = %(tenant_id)s AND merge_id = %(merge_id)s
