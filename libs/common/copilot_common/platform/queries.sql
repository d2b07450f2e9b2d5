-- name: renew_process
-- Take or renew this process's lease, by the database's clock.
SELECT dispatch.renew_process(
    %(process_id)s, %(service)s, make_interval(secs => %(lease_seconds)s)
)

-- name: end_process
-- Give the lease back.
SELECT dispatch.end_process(%(process_id)s)

-- name: prune
-- Delete what is past its age, at most this many rows of each kind.
SELECT dispatch.prune(%(limit)s)
