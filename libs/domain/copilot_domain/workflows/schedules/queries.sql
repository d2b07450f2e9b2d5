-- name: insert_schedule
-- A schedule that is due for the first time at `next_at`; its inputs are sealed.
INSERT INTO workflow_schedules (tenant_id, id, workflow_id, user_id, cron, timezone, misfire, inputs_sealed, next_at)
VALUES (
    %(tenant_id)s, %(id)s, %(workflow_id)s, %(user_id)s, %(cron)s, %(timezone)s, %(misfire)s, %(inputs_sealed)s,
    %(next_at)s
)
RETURNING id, workflow_id, user_id, cron, timezone, misfire, inputs_sealed, next_at, inactive_reason, last_at,
    last_run_id, last_error, created_at

-- name: count_schedules
-- How many a workflow has, and the tenant; both are bounded by the service. And what time it is.
SELECT count(*) FILTER (WHERE workflow_id = %(workflow_id)s)::integer AS of_workflow, count(*)::integer AS of_tenant, now()
FROM workflow_schedules WHERE tenant_id = %(tenant_id)s

-- name: list_schedules
-- A workflow's, newest first; without a cursor `before` lies after all ids.
SELECT id, workflow_id, user_id, cron, timezone, misfire, inputs_sealed, next_at, inactive_reason, last_at,
    last_run_id, last_error, created_at
FROM workflow_schedules
WHERE tenant_id = %(tenant_id)s AND workflow_id = %(workflow_id)s AND id < %(before)s
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: delete_schedule
-- It starts nothing more.
DELETE FROM workflow_schedules WHERE tenant_id = %(tenant_id)s AND workflow_id = %(workflow_id)s AND id = %(id)s

-- name: due_schedules
-- What falls due within a time, over all tenants, the earliest first: a bounded batch. `seconds` until it does.
SELECT tenant_id, id, user_id, seconds FROM dispatch.due_schedules(%(ahead_seconds)s, %(limit)s)

-- name: hold_due
-- A schedule that is due, locked: nobody else starts its run. None where it is not, or somebody has it. `role` is what
-- its user is now, null where they are nothing.
SELECT s.workflow_id, s.cron, s.timezone, s.misfire, s.inputs_sealed, s.next_at, now() AS moment, m.role,
    t.status = 'active' AS is_tenant_active
FROM workflow_schedules s
JOIN tenants t ON t.id = s.tenant_id
LEFT JOIN LATERAL dispatch.find_member(s.tenant_id, s.user_id) m ON true
WHERE s.tenant_id = %(tenant_id)s AND s.id = %(id)s AND s.next_at <= now()
FOR NO KEY UPDATE OF s SKIP LOCKED

-- name: move_on
-- It is due again at `next_at`, or never again for the reason given.
UPDATE workflow_schedules SET next_at = %(next_at)s, inactive_reason = %(inactive_reason)s
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: note_firing
-- It was due just now: the run it has started, or why it has started none.
UPDATE workflow_schedules
SET last_at = now(), last_run_id = coalesce(%(run_id)s, last_run_id), last_error = %(error)s
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
