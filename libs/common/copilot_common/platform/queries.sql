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

-- name: cluster
-- The same number at a primary and at what is a copy of it block by block.
SELECT system_identifier FROM pg_control_system()

-- name: is_replica
-- Whether the server replays another one's log.
SELECT pg_is_in_recovery()
