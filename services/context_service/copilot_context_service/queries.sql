-- name: fail_abandoned_items
-- Items whose job has ended without them have failed.
SELECT dispatch.fail_abandoned_items(%(limit)s)
