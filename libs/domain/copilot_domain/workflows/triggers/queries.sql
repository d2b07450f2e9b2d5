-- name: insert_trigger
-- A trigger; its name and its secret are sealed.
INSERT INTO workflow_triggers (tenant_id, id, workflow_id, user_id, name_sealed, secret_sealed)
VALUES (%(tenant_id)s, %(id)s, %(workflow_id)s, %(user_id)s, %(name_sealed)s, %(secret_sealed)s)
RETURNING created_at

-- name: count_triggers
-- How many a workflow has: a handful, by the service's bound.
SELECT count(*)::integer FROM workflow_triggers WHERE tenant_id = %(tenant_id)s AND workflow_id = %(workflow_id)s

-- name: list_triggers
-- A workflow's, newest first, with the present role of who made each, null where they have none; without a cursor
-- `before` lies after all ids.
SELECT t.id, t.workflow_id, t.name_sealed, t.user_id, m.role, t.created_at
FROM workflow_triggers t
LEFT JOIN LATERAL dispatch.find_member(t.tenant_id, t.user_id) m ON true
WHERE t.tenant_id = %(tenant_id)s AND t.workflow_id = %(workflow_id)s AND t.id < %(before)s
ORDER BY t.id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: delete_trigger
-- Nobody can call it any more.
DELETE FROM workflow_triggers WHERE tenant_id = %(tenant_id)s AND workflow_id = %(workflow_id)s AND id = %(id)s

-- name: find_trigger
-- A trigger of any tenant, with the present role of who made it, null where they have none.
SELECT tenant_id, workflow_id, user_id, secret_sealed, role FROM dispatch.find_trigger(%(id)s)

-- name: insert_call
-- The first call with this id; nothing where it is a repeat, or the trigger is deleted.
INSERT INTO workflow_trigger_calls (tenant_id, trigger_id, call_hash, run_id, expires_at)
SELECT tenant_id, id, %(call_hash)s, %(run_id)s, now() + make_interval(secs => %(keep_seconds)s)
FROM workflow_triggers WHERE tenant_id = %(tenant_id)s AND id = %(trigger_id)s
ON CONFLICT DO NOTHING
RETURNING run_id

-- name: get_call
-- The run that the first call with this id has started.
SELECT run_id FROM workflow_trigger_calls
WHERE tenant_id = %(tenant_id)s AND trigger_id = %(trigger_id)s AND call_hash = %(call_hash)s

-- name: prune_calls
-- Delete one bounded batch of calls past their expiry.
SELECT dispatch.prune_trigger_calls(%(limit)s)
