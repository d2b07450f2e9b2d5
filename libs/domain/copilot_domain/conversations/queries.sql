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

-- name: begin_turn
-- The user's message, the answer that is now being generated, owned by this process, and the audit row; returns what the
-- model is asked. A null `created_at`: nothing was written, because the conversation is not as assumed.
-- `synchronous_commit`: of this statement; null: the session's.
SELECT created_at, answer_position, conversation_model AS model, system_prompt_sealed, ids, roles, contents
FROM (
    SELECT set_config(
        'synchronous_commit', coalesce(%(synchronous_commit)s, current_setting('synchronous_commit')), true
    )
) AS durability,
turn.begin(
    p_tenant => %(tenant_id)s, p_user => %(user_id)s, p_conversation => %(conversation_id)s,
    p_is_model_given => %(is_model_given)s, p_conversation_model => %(conversation_model)s,
    p_max_system_bytes => %(max_system_bytes)s, p_max_messages => %(max_messages)s, p_max_bytes => %(max_bytes)s,
    p_question => %(user_message_id)s, p_content_sealed => %(content_sealed)s,
    p_metadata_sealed => %(metadata_sealed)s, p_documents_sealed => %(documents_sealed)s,
    p_answer => %(answer_id)s, p_empty_sealed => %(empty_sealed)s, p_model => %(model)s,
    p_input_tokens => %(input_tokens)s, p_process => %(process_id)s,
    p_audit => %(audit_id)s, p_actor_type => %(actor_type)s, p_actor => %(actor_id)s, p_address => %(address)s,
    p_details => %(details)s
)

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

-- name: finish_turn
-- The end of an answer, whatever it is, and its line on the bill. False when the answer has passed to another process.
SELECT turn.finish(
    p_tenant => %(tenant_id)s, p_user => %(user_id)s, p_conversation => %(conversation_id)s, p_position => %(position)s,
    p_answer => %(message_id)s, p_process => %(process_id)s, p_fence => %(fence)s,
    p_status => %(status)s, p_content_sealed => %(content_sealed)s, p_events_sealed => %(events_sealed)s,
    p_citations_sealed => %(citations_sealed)s, p_finish_reason => %(finish_reason)s, p_error_code => %(error_code)s,
    p_degraded => %(degraded)s,
    p_call => %(call_id)s, p_api_key => %(api_key_id)s, p_provider => %(provider)s, p_model => %(model)s,
    p_input_tokens => %(input_tokens)s, p_output_tokens => %(output_tokens)s, p_cached_tokens => %(cached_tokens)s,
    p_reasoning_tokens => %(reasoning_tokens)s, p_cost_usd => %(cost_usd)s, p_estimated => %(estimated)s,
    p_first_token_ms => %(first_token_ms)s, p_total_ms => %(total_ms)s, p_is_alone => %(is_alone)s
)

-- name: bill_deleted_generation
-- Whether an answer is gone, its conversation deleted meanwhile; then its line on the bill is written, once.
WITH gone AS (
    SELECT WHERE NOT EXISTS (SELECT FROM messages WHERE tenant_id = %(tenant_id)s AND id = %(message_id)s)
), billed AS (
    INSERT INTO llm_calls (
        tenant_id, id, user_id, api_key_id, conversation_id, message_id, provider, model, outcome, finish_reason,
        input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd, estimated, first_token_ms, total_ms
    )
    SELECT
        %(tenant_id)s, %(call_id)s, %(user_id)s, %(api_key_id)s, %(conversation_id)s, %(message_id)s, %(provider)s,
        %(model)s, 'cancelled', 'cancelled', %(input_tokens)s, %(output_tokens)s, %(cached_tokens)s,
        %(reasoning_tokens)s, %(cost_usd)s, %(estimated)s, %(first_token_ms)s, %(total_ms)s
    FROM gone
    ON CONFLICT (tenant_id, id) DO NOTHING
)
SELECT EXISTS (SELECT FROM gone)

-- name: get_message
-- One message of a conversation (whose visibility the caller has checked).
SELECT id, conversation_id, role, status, user_id, content_sealed, metadata_sealed, citations_sealed, events_sealed,
    model, finish_reason, error_code, degraded, input_tokens, output_tokens, cached_tokens, cost_usd, usage_estimated,
    process_id, fence, job_id, created_at, position
FROM messages
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND id = %(id)s

-- name: list_messages
-- A page of a conversation, oldest first.
SELECT id, conversation_id, role, status, user_id, content_sealed, metadata_sealed, citations_sealed, events_sealed,
    model, finish_reason, error_code, degraded, input_tokens, output_tokens, cached_tokens, cost_usd, usage_estimated,
    process_id, fence, job_id, created_at, position
FROM messages
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND position > %(after_position)s
ORDER BY position
OFFSET %(offset)s LIMIT %(limit)s

-- name: request_cancel
-- Ask whoever generates this answer to stop; returns nothing when it is not being generated.
UPDATE messages SET cancel_requested = true
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND id = %(id)s
    AND status IN ('pending', 'generating')
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

-- name: are_enough_waiting
-- Whether so many answers of a conversation have not begun.
SELECT count(*) >= %(enough)s FROM messages
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND status = 'pending'

-- name: queue_turn
-- Two more messages of a locked conversation: the user's, and the answer that a job will make. Returns when that was.
WITH numbered AS (
    UPDATE conversations SET message_count = message_count + 2, updated_at = now()
    WHERE tenant_id = %(tenant_id)s AND id = %(conversation_id)s
        AND (user_id = %(user_id)s OR visibility = 'tenant')
    RETURNING message_count
), turn AS (
    INSERT INTO messages (
        tenant_id, id, conversation_id, position, role, status, user_id, content_sealed, metadata_sealed,
        documents_sealed, job_id
    )
    SELECT
        %(tenant_id)s::uuid, %(user_message_id)s::uuid, %(conversation_id)s::uuid, message_count - 1, 'user',
        'completed', %(user_id)s::uuid, %(content_sealed)s::bytea, %(metadata_sealed)s::bytea, %(documents_sealed)s::bytea, NULL::uuid
    FROM numbered
    UNION ALL
    SELECT
        %(tenant_id)s, %(answer_id)s, %(conversation_id)s, message_count, 'assistant', 'pending', %(user_id)s,
        %(empty_sealed)s::bytea, NULL, NULL, %(job_id)s::uuid
    FROM numbered
)
SELECT now() FROM numbered

-- name: take_up_turn
-- An answer that a job is to make, locked; with its question, its conversation, and whether an earlier one is unfinished.
SELECT a.status, a.position, a.fence, a.created_at,
    q.id AS question_id, q.content_sealed AS question_sealed, q.documents_sealed, c.model AS conversation_model,
    c.system_prompt_sealed, a.cancel_requested,
    EXISTS (
        SELECT FROM messages e
        WHERE e.tenant_id = a.tenant_id AND e.conversation_id = a.conversation_id AND e.position < a.position
            AND e.status IN ('pending', 'generating')
    ) AS is_waiting
FROM messages a
JOIN messages q
    ON q.tenant_id = a.tenant_id AND q.conversation_id = a.conversation_id AND q.position = a.position - 1
JOIN conversations c ON c.tenant_id = a.tenant_id AND c.id = a.conversation_id
WHERE a.tenant_id = %(tenant_id)s AND a.conversation_id = %(conversation_id)s AND a.id = %(id)s
FOR UPDATE OF a

-- name: own_turn
-- The answer is now being generated by this process. Returns the last checkpoint: from here on nobody else writes one.
UPDATE messages
SET status = 'generating', process_id = %(process_id)s, fence = fence + 1, model = %(model)s,
    input_tokens = %(input_tokens)s, usage_estimated = true
WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND id = %(id)s
RETURNING fence, content_sealed, events_sealed

-- name: history_before
-- The newest messages before a position, newest first, as many as fit the count and the bytes.
WITH newest AS (
    SELECT id, role, content_sealed, position, sum(octet_length(content_sealed)) OVER (ORDER BY position DESC) AS bytes
    FROM messages
    WHERE tenant_id = %(tenant_id)s AND conversation_id = %(conversation_id)s AND position < %(position)s
        AND status IN ('completed', 'cancelled', 'interrupted')
    ORDER BY position DESC
    LIMIT %(max_messages)s
)
SELECT id, role, content_sealed FROM newest WHERE bytes <= %(max_bytes)s ORDER BY position DESC

-- name: untitled_conversation
-- A conversation without a title, and its first question and answer.
SELECT q.id AS question_id, q.content_sealed AS question_sealed, a.id AS answer_id, a.content_sealed AS answer_sealed,
    c.model
FROM conversations c
JOIN messages q ON q.tenant_id = c.tenant_id AND q.conversation_id = c.id AND q.position = 1
JOIN messages a ON a.tenant_id = c.tenant_id AND a.conversation_id = c.id AND a.position = 2
WHERE c.tenant_id = %(tenant_id)s AND c.id = %(id)s AND c.title_sealed IS NULL

-- name: set_title
-- A title for a conversation that has none.
UPDATE conversations SET title_sealed = %(title_sealed)s
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND title_sealed IS NULL
RETURNING id

-- name: bill_title
-- The line on the bill of a title that a model wrote.
INSERT INTO llm_calls (
    tenant_id, id, user_id, api_key_id, conversation_id, message_id, provider, model, outcome, finish_reason,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd, estimated, first_token_ms, total_ms
) VALUES (
    %(tenant_id)s, %(call_id)s, %(user_id)s, %(api_key_id)s, %(conversation_id)s, NULL, %(provider)s, %(model)s,
    'completed', %(finish_reason)s, %(input_tokens)s, %(output_tokens)s, %(cached_tokens)s, %(reasoning_tokens)s,
    %(cost_usd)s, %(estimated)s, NULL, %(total_ms)s
)
