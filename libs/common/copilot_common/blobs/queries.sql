-- name: insert_blob
-- Begin a blob; no row where the id is taken.
INSERT INTO blobs (tenant_id, id) VALUES (%(tenant_id)s, %(blob_id)s)
ON CONFLICT DO NOTHING

-- name: insert_blob_in_objects
-- Begin a blob whose pieces are objects; no row where the id is taken, or its former objects are still to be deleted.
INSERT INTO blobs (tenant_id, id, object_count)
SELECT %(tenant_id)s::uuid, %(blob_id)s::uuid, 0
WHERE NOT EXISTS (SELECT FROM blob_removals WHERE tenant_id = %(tenant_id)s AND blob_id = %(blob_id)s)
ON CONFLICT DO NOTHING

-- name: insert_piece
-- The next piece of a blob that is still being written. An hour before it may be pruned, writing ends. The lock waits for
-- who is deleting it, instead of failing on the foreign key.
INSERT INTO blob_pieces (tenant_id, blob_id, number, content_sealed)
SELECT tenant_id, id, %(number)s::integer, %(content_sealed)s::bytea
FROM blobs
WHERE tenant_id = %(tenant_id)s AND id = %(blob_id)s AND piece_count IS NULL
    AND created_at > now() - interval '23 hours'
FOR KEY SHARE

-- name: announce_object
-- The next object of a blob that is still being written; it is sent only afterwards. The same hour as for pieces.
UPDATE blobs SET object_count = %(number)s::integer + 1
WHERE tenant_id = %(tenant_id)s AND id = %(blob_id)s AND piece_count IS NULL AND object_count = %(number)s
    AND created_at > now() - interval '23 hours'

-- name: finish_blob
-- From now on it can be read.
UPDATE blobs
SET size_bytes = %(size_bytes)s, piece_count = %(piece_count)s, manifest_sealed = %(manifest_sealed)s
WHERE tenant_id = %(tenant_id)s AND id = %(blob_id)s AND piece_count IS NULL
    AND created_at > now() - interval '23 hours'

-- name: find_manifest
-- Null while the blob is being written.
SELECT manifest_sealed, object_count IS NOT NULL AS is_in_objects
FROM blobs WHERE tenant_id = %(tenant_id)s AND id = %(blob_id)s

-- name: find_piece
-- One piece.
SELECT content_sealed FROM blob_pieces
WHERE tenant_id = %(tenant_id)s AND blob_id = %(blob_id)s AND number = %(number)s

-- name: delete_blob
-- A blob with its pieces.
DELETE FROM blobs WHERE tenant_id = %(tenant_id)s AND id = %(blob_id)s

-- name: discard_blob
-- One that was not finished, with its pieces.
DELETE FROM blobs WHERE tenant_id = %(tenant_id)s AND id = %(blob_id)s AND piece_count IS NULL

-- name: prune_blobs
-- Delete unfinished blobs past their day, at most this many pieces.
SELECT dispatch.prune_blobs(%(limit)s)

-- name: claim_removals
-- At most this many blobs whose objects are to be deleted now.
SELECT tenant_id, id, blob_id, object_count FROM dispatch.claim_blob_removals(%(limit)s)

-- name: finish_removal
-- The objects of a blob are gone.
SELECT dispatch.finish_blob_removal(%(tenant_id)s, %(id)s)
