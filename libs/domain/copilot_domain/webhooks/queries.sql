-- name: insert_webhook
-- A new webhook; its texts and its secret are sealed.
INSERT INTO webhooks (tenant_id, id, user_id, url_sealed, events, description_sealed, secret_sealed, is_active)
VALUES (
    %(tenant_id)s, %(id)s, %(user_id)s, %(url_sealed)s, %(events)s, %(description_sealed)s, %(secret_sealed)s,
    %(is_active)s
)
RETURNING id, user_id, url_sealed, events, description_sealed, is_active, created_at, updated_at

-- name: get_webhook
-- One webhook of the tenant.
SELECT id, user_id, url_sealed, events, description_sealed, is_active, created_at, updated_at
FROM webhooks WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: hold_webhook
-- The same for who writes in its name: it is not deleted before the transaction ends.
SELECT id, user_id, url_sealed, events, description_sealed, is_active, created_at, updated_at
FROM webhooks WHERE tenant_id = %(tenant_id)s AND id = %(id)s
FOR KEY SHARE

-- name: lock_webhook
-- The same for who changes it, knowing what it is now.
SELECT id, user_id, url_sealed, events, description_sealed, is_active, created_at, updated_at
FROM webhooks WHERE tenant_id = %(tenant_id)s AND id = %(id)s
FOR NO KEY UPDATE

-- name: list_webhooks
-- Newest first; without a cursor `before` lies after all ids.
SELECT id, user_id, url_sealed, events, description_sealed, is_active, created_at, updated_at
FROM webhooks WHERE tenant_id = %(tenant_id)s AND id < %(before)s
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_webhooks
-- How many the tenant has: a handful, by the service's bound.
SELECT count(*)::integer FROM webhooks WHERE tenant_id = %(tenant_id)s

-- name: update_webhook
-- Replace what may be changed.
UPDATE webhooks
SET url_sealed = %(url_sealed)s, events = %(events)s, description_sealed = %(description_sealed)s,
    is_active = %(is_active)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, url_sealed, events, description_sealed, is_active, created_at, updated_at

-- name: deactivate_webhook
-- Its receiver is gone for good. Touches nothing where it is inactive already.
UPDATE webhooks SET is_active = false, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND is_active

-- name: delete_webhook
-- Gone with its deliveries.
DELETE FROM webhooks WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: hold_subscribers
-- Who wants to hear of an event. Locked, so that none is deleted before the transaction ends: its delivery's foreign key
-- would fail, and with it the change that is told of.
SELECT id FROM webhooks
WHERE tenant_id = %(tenant_id)s AND is_active AND %(event)s = ANY (events)
ORDER BY id
FOR KEY SHARE

-- name: insert_delivery
-- A piece of news for one webhook, and the job that brings it.
INSERT INTO webhook_deliveries (tenant_id, id, webhook_id, event, body_sealed, job_id)
VALUES (%(tenant_id)s, %(id)s, %(webhook_id)s, %(event)s, %(body_sealed)s, %(job_id)s)

-- name: get_parcel
-- All that one attempt needs.
SELECT d.id, d.webhook_id, d.body_sealed, w.url_sealed, w.secret_sealed, w.is_active
FROM webhook_deliveries d
JOIN webhooks w ON w.tenant_id = d.tenant_id AND w.id = d.webhook_id
WHERE d.tenant_id = %(tenant_id)s AND d.id = %(id)s

-- name: record_attempt
-- How an attempt ended.
UPDATE webhook_deliveries
SET status = %(status)s, attempts = attempts + %(attempts)s::integer,
    last_status = coalesce(%(last_status)s::smallint, last_status), last_error_code = %(last_error_code)s::text,
    delivered_at = CASE WHEN %(status)s = 'delivered' THEN clock_timestamp() ELSE delivered_at END
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: get_delivery_job
-- Which job delivers it.
SELECT job_id FROM webhook_deliveries WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: await_delivery
-- It is to be delivered again, by this job.
UPDATE webhook_deliveries SET status = 'pending', job_id = %(job_id)s
WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: get_delivery
-- One delivery of a webhook. Where its job ended without bringing it (its user was removed, every worker was lost), it
-- failed, whatever its row says.
SELECT d.id, d.webhook_id, d.event, CASE WHEN g.gone THEN 'failed' ELSE d.status END AS status, d.attempts,
    d.last_status, CASE WHEN g.gone THEN coalesce(j.error_code, d.last_error_code) ELSE d.last_error_code END
        AS last_error_code,
    d.created_at, d.delivered_at
FROM webhook_deliveries d
LEFT JOIN jobs j ON j.tenant_id = d.tenant_id AND j.id = d.job_id
CROSS JOIN LATERAL (
    SELECT d.status = 'pending' AND coalesce(j.status NOT IN ('pending', 'scheduled', 'running'), true) AS gone
) g
WHERE d.tenant_id = %(tenant_id)s AND d.webhook_id = %(webhook_id)s AND d.id = %(id)s

-- name: list_deliveries
-- The same of all deliveries of a webhook, newest first; without a cursor `before` lies after all ids.
SELECT d.id, d.webhook_id, d.event, CASE WHEN g.gone THEN 'failed' ELSE d.status END AS status, d.attempts,
    d.last_status, CASE WHEN g.gone THEN coalesce(j.error_code, d.last_error_code) ELSE d.last_error_code END
        AS last_error_code,
    d.created_at, d.delivered_at
FROM (
    SELECT * FROM webhook_deliveries
    WHERE tenant_id = %(tenant_id)s AND webhook_id = %(webhook_id)s AND id < %(before)s
    ORDER BY id DESC
    OFFSET %(offset)s LIMIT %(limit)s
) d
LEFT JOIN jobs j ON j.tenant_id = d.tenant_id AND j.id = d.job_id
CROSS JOIN LATERAL (
    SELECT d.status = 'pending' AND coalesce(j.status NOT IN ('pending', 'scheduled', 'running'), true) AS gone
) g
ORDER BY d.id DESC

-- name: count_deliveries
-- How many of a webhook, counted up to a limit.
SELECT count(*)::integer FROM (
    SELECT FROM webhook_deliveries
    WHERE tenant_id = %(tenant_id)s AND webhook_id = %(webhook_id)s
    LIMIT %(count_limit)s
) AS counted

-- name: prune_deliveries
-- Delete one bounded batch of deliveries older than 30 days.
SELECT dispatch.prune_deliveries(%(limit)s)
