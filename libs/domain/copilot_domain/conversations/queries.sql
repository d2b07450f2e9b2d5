-- name: insert_conversation
-- A new conversation; its texts are sealed.
INSERT INTO conversations (
    tenant_id, id, user_id, title_sealed, system_prompt_sealed, metadata_sealed, model, visibility
) VALUES (
    %(tenant_id)s, %(id)s, %(user_id)s, %(title_sealed)s, %(system_prompt_sealed)s, %(metadata_sealed)s, %(model)s,
    %(visibility)s
)
RETURNING id, user_id, tenant_id, title_sealed, system_prompt_sealed, metadata_sealed, model, visibility, message_count,
    created_at, updated_at

-- name: get_conversation
-- One conversation that the user may see: its own, or shared with the tenant.
SELECT id, user_id, tenant_id, title_sealed, system_prompt_sealed, metadata_sealed, model, visibility, message_count,
    created_at, updated_at
FROM conversations
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND (user_id = %(user_id)s OR visibility = 'tenant')

-- name: list_conversations
-- Newest activity first: the user's own and the shared ones, each branch along its own index. Each gives as many rows as
-- the page may need; the user's own shared ones come in both, since leaving them out of one would mean reading past them.
-- Without a cursor `before` lies after all rows: an OR or a coalesce here would make every page read all pages before it.
SELECT DISTINCT ON (updated_at, id) * FROM (
    (
        SELECT id, user_id, tenant_id, title_sealed, system_prompt_sealed, metadata_sealed, model, visibility,
            message_count, created_at, updated_at
        FROM conversations
        WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND (updated_at, id) < (%(before)s, %(before_id)s)
        ORDER BY updated_at DESC, id DESC
        LIMIT %(limit)s::integer + %(offset)s::integer
    )
    UNION ALL
    (
        SELECT id, user_id, tenant_id, title_sealed, system_prompt_sealed, metadata_sealed, model, visibility,
            message_count, created_at, updated_at
        FROM conversations
        WHERE tenant_id = %(tenant_id)s AND visibility = 'tenant' AND (updated_at, id) < (%(before)s, %(before_id)s)
        ORDER BY updated_at DESC, id DESC
        LIMIT %(limit)s::integer + %(offset)s::integer
    )
) AS visible
ORDER BY updated_at DESC, id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_conversations
-- How many the user may see, counted up to a limit.
SELECT count(*)::integer FROM (
    (
        SELECT 1 FROM conversations
        WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
        LIMIT %(count_limit)s
    )
    UNION ALL
    (
        SELECT 1 FROM conversations
        WHERE tenant_id = %(tenant_id)s AND visibility = 'tenant' AND user_id <> %(user_id)s
        LIMIT %(count_limit)s
    )
    LIMIT %(count_limit)s
) AS visible

-- name: update_conversation
-- Replace what its owner may change.
UPDATE conversations
SET title_sealed = %(title_sealed)s, system_prompt_sealed = %(system_prompt_sealed)s,
    metadata_sealed = %(metadata_sealed)s, model = %(model)s, visibility = %(visibility)s, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING id, user_id, tenant_id, title_sealed, system_prompt_sealed, metadata_sealed, model, visibility, message_count,
    created_at, updated_at

-- name: delete_conversation
-- Gone with its messages and their feedback.
DELETE FROM conversations WHERE tenant_id = %(tenant_id)s AND id = %(id)s

-- name: open_turn
-- Lock a visible conversation and number two more messages: the user's and the answer.
UPDATE conversations
SET message_count = message_count + 2, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND (user_id = %(user_id)s OR visibility = 'tenant')
RETURNING message_count, model, system_prompt_sealed

-- name: history
-- The newest messages, newest first, as many as fit the count and the bytes. Sizes come from TOAST's headers: what does
-- not fit is not read. A statement of its own after the lock: it must see the answer whose end the lock has waited for.
WITH newest AS (
    SELECT id, role, content_sealed, position, sum(octet_length(content_sealed)) OVER (ORDER BY position DESC) AS bytes
    FROM messages
    WHERE tenant_id = %(tenant_id)s AND conversation_id = %(id)s AND status IN ('completed', 'cancelled', 'interrupted')
    ORDER BY position DESC
    LIMIT %(max_messages)s
)
SELECT
    coalesce(array_agg(id ORDER BY position DESC), '{}') AS ids,
    coalesce(array_agg(role ORDER BY position DESC), '{}') AS roles,
    coalesce(array_agg(content_sealed ORDER BY position DESC), '{}') AS contents
FROM newest
WHERE bytes <= %(max_bytes)s

-- name: insert_turn
-- The user's message, the answer that is now being generated, owned by this process, and the audit row.
WITH turn AS (
    INSERT INTO messages (
        tenant_id, id, conversation_id, position, role, status, user_id, content_sealed, metadata_sealed,
        documents_sealed, model, input_tokens, usage_estimated, process_id
    ) VALUES (
        %(tenant_id)s, %(user_message_id)s, %(conversation_id)s, %(position)s - 1, 'user', 'completed', %(user_id)s,
        %(content_sealed)s, %(metadata_sealed)s, %(documents_sealed)s, NULL, NULL, false, NULL
    ), (
        %(tenant_id)s, %(answer_id)s, %(conversation_id)s, %(position)s, 'assistant', 'generating', %(user_id)s,
        %(empty_sealed)s, NULL, NULL, %(model)s, %(input_tokens)s, true, %(process_id)s
    )
), audited AS (
    INSERT INTO audit_log (
        tenant_id, id, actor_type, actor_id, user_id, action, resource_type, resource_id, address, details
    ) VALUES (
        %(tenant_id)s, %(audit_id)s, %(actor_type)s, %(actor_id)s, %(user_id)s, %(action)s, %(resource_type)s,
        %(resource_id)s, %(address)s, %(details)s
    )
)
SELECT now() AS created_at

-- name: checkpoint_generations
-- Text and boundaries so far of many answers; only while they are still this process's. Says which were asked to stop.
UPDATE messages AS m
SET content_sealed = coalesce(c.content_sealed, m.content_sealed),
    events_sealed = coalesce(c.events_sealed, m.events_sealed)
FROM unnest(%(ids)s::uuid[], %(fences)s::integer[], %(contents)s::bytea[], %(events)s::bytea[])
    AS c (id, fence, content_sealed, events_sealed)
WHERE m.tenant_id = %(tenant_id)s AND m.id = c.id AND m.fence = c.fence AND m.process_id = %(process_id)s
    AND m.status = 'generating'
RETURNING m.id, m.cancel_requested

-- name: finish_generation
-- The end of an answer, whatever it is, and its line on the bill; nothing happens when the answer has passed to another
-- process. Returns the answer's id when it was ours.
WITH ended AS (
    UPDATE messages
    SET status = %(status)s, content_sealed = %(content_sealed)s, events_sealed = %(events_sealed)s,
        citations_sealed = %(citations_sealed)s, finish_reason = %(finish_reason)s, error_code = %(error_code)s,
        input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s, cached_tokens = %(cached_tokens)s,
        cost_usd = %(cost_usd)s, usage_estimated = %(estimated)s, completed_at = now(), process_id = NULL
    WHERE tenant_id = %(tenant_id)s AND id = %(message_id)s AND status = 'generating' AND process_id = %(process_id)s
        AND fence = %(fence)s
    RETURNING id
), touched AS (
    UPDATE conversations SET updated_at = now()
    WHERE tenant_id = %(tenant_id)s AND id = %(conversation_id)s AND EXISTS (SELECT FROM ended)
)
INSERT INTO llm_calls (
    tenant_id, id, user_id, api_key_id, conversation_id, message_id, provider, model, outcome, finish_reason,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd, estimated, first_token_ms, total_ms
)
SELECT
    %(tenant_id)s, %(call_id)s, %(user_id)s, %(api_key_id)s, %(conversation_id)s, ended.id, %(provider)s, %(model)s,
    %(status)s, %(finish_reason)s, %(input_tokens)s, %(output_tokens)s, %(cached_tokens)s, %(reasoning_tokens)s,
    %(cost_usd)s, %(estimated)s, %(first_token_ms)s, %(total_ms)s
FROM ended
RETURNING message_id

-- name: bill_deleted_generation
-- The line on the bill of an answer whose conversation was deleted meanwhile; nothing where the answer is still there.
INSERT INTO llm_calls (
    tenant_id, id, user_id, api_key_id, conversation_id, message_id, provider, model, outcome, finish_reason,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd, estimated, first_token_ms, total_ms
)
SELECT
    %(tenant_id)s, %(call_id)s, %(user_id)s, %(api_key_id)s, %(conversation_id)s, %(message_id)s, %(provider)s,
    %(model)s, 'cancelled', 'cancelled', %(input_tokens)s, %(output_tokens)s, %(cached_tokens)s, %(reasoning_tokens)s,
    %(cost_usd)s, %(estimated)s, %(first_token_ms)s, %(total_ms)s
WHERE NOT EXISTS (SELECT FROM messages WHERE tenant_id = %(tenant_id)s AND id = %(message_id)s)
RETURNING message_id

-- name: get_message
-- One message of a conversation (whose visibility the caller has checked).
SELECT id, conversation_id, role, status, user_id, content_sealed, metadata_sealed, citations_sealed, events_sealed,
    model, finish_reason, error_code, degraded, input_tokens, output_tokens, cached_tokens, cost_usd, usage_estimated,
    process_id, fence, created_at, position
FROM messages
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND id = %(id)s

-- name: list_messages
-- A page of a conversation, oldest first.
SELECT id, conversation_id, role, status, user_id, content_sealed, metadata_sealed, citations_sealed, events_sealed,
    model, finish_reason, error_code, degraded, input_tokens, output_tokens, cached_tokens, cost_usd, usage_estimated,
    process_id, fence, created_at, position
FROM messages
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND position > %(after_position)s
ORDER BY position
OFFSET %(offset)s LIMIT %(limit)s

-- name: request_cancel
-- Ask whoever generates this answer to stop; returns nothing when it is not being generated.
UPDATE messages SET cancel_requested = true
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND id = %(id)s AND status = 'generating'
RETURNING id

-- name: put_feedback
-- One opinion per user and answer; a second one replaces the first.
INSERT INTO message_feedback (tenant_id, message_id, user_id, rating, comment_sealed)
VALUES (%(tenant_id)s, %(message_id)s, %(user_id)s, %(rating)s, %(comment_sealed)s)
ON CONFLICT (tenant_id, message_id, user_id)
DO UPDATE SET rating = excluded.rating, comment_sealed = excluded.comment_sealed, updated_at = now()

-- name: claim_lapsed_generations
-- Answers whose process is gone, or is this one and does not know of them; now owned by this one.
SELECT tenant_id, conversation_id, message_id, user_id, fence
FROM dispatch.claim_lapsed_generations(%(process_id)s, %(known)s, %(limit)s)
