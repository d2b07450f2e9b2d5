-- name: insert_workflow
-- A new workflow, at version 1; its texts are sealed.
INSERT INTO workflows (tenant_id, id, user_id, name_sealed, description_sealed, current_version)
VALUES (%(tenant_id)s, %(id)s, %(user_id)s, %(name_sealed)s, %(description_sealed)s, 1)
RETURNING id, user_id, name_sealed, description_sealed, current_version, created_at, updated_at

-- name: insert_version
-- A version; it never changes.
INSERT INTO workflow_versions (tenant_id, workflow_id, version, definition_sealed, user_id)
VALUES (%(tenant_id)s, %(id)s, %(version)s, %(definition_sealed)s, %(user_id)s)

-- name: get_workflow
-- One workflow of the tenant that is not deleted.
SELECT id, user_id, name_sealed, description_sealed, current_version, created_at, updated_at
FROM workflows WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND deleted_at IS NULL

-- name: lock_workflow
-- The same for who gives it another version.
SELECT id, user_id, name_sealed, description_sealed, current_version, created_at, updated_at
FROM workflows WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND deleted_at IS NULL
FOR NO KEY UPDATE

-- name: list_workflows
-- Newest first; without a cursor `before` lies after all ids.
SELECT id, user_id, name_sealed, description_sealed, current_version, created_at, updated_at
FROM workflows WHERE tenant_id = %(tenant_id)s AND id < %(before)s AND deleted_at IS NULL
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_workflows
-- How many the tenant has, counted up to a limit.
SELECT count(*)::integer FROM (
    SELECT FROM workflows WHERE tenant_id = %(tenant_id)s AND deleted_at IS NULL
    LIMIT %(count_limit)s
) AS counted

-- name: update_workflow
-- Its current version is another one.
UPDATE workflows
SET name_sealed = %(name_sealed)s, description_sealed = %(description_sealed)s, current_version = %(version)s,
    updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, name_sealed, description_sealed, current_version, created_at, updated_at

-- name: delete_workflow
-- Nobody finds it any more. Its versions stay, for the runs there are of them.
UPDATE workflows SET deleted_at = now() WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND deleted_at IS NULL

-- name: delete_starts
-- What would start runs of it goes with it: its schedules and triggers.
WITH schedules AS (
    DELETE FROM workflow_schedules WHERE tenant_id = %(tenant_id)s AND workflow_id = %(id)s
)
DELETE FROM workflow_triggers WHERE tenant_id = %(tenant_id)s AND workflow_id = %(id)s

-- name: get_version
-- One version, also of a deleted workflow: a run goes on with it.
SELECT version, definition_sealed FROM workflow_versions
WHERE tenant_id = %(tenant_id)s AND workflow_id = %(id)s AND version = %(version)s

-- name: list_versions
-- Newest first; without a cursor `before` lies after all numbers.
SELECT workflow_id, version, user_id, created_at FROM workflow_versions
WHERE tenant_id = %(tenant_id)s AND workflow_id = %(id)s AND version < %(before)s
ORDER BY version DESC
OFFSET %(offset)s LIMIT %(limit)s
