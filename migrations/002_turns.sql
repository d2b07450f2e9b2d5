-- 002_turns: the two statements of every answer, each a transaction of its own and one round trip.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/002_turns.sql
-- or by `copilot migrate up`.
--
-- The functions run as whoever calls them, behind row-level security like any other statement; what they add is that
-- the tenant is set in the same round trip. Each may be sent twice (the connection died before its answer came), so
-- each does the same when repeated. Called inside a transaction they are part of it. Rows are looked up by all columns
-- of an index: a plan that was cached while a table was small may otherwise scan it when it has grown. A running build
-- calls them by name: one that must change its parameters gets a new name, and the old one stays for a release.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE SCHEMA turn;
GRANT USAGE ON SCHEMA turn TO copilot_app;

-- The user's message, the answer that is now being generated, owned by a process, and the audit row; and what the model
-- is asked: the system prompt and the newest messages before these, newest first, as many as fit the count and the
-- bytes. (Sizes come from TOAST's headers: what does not fit is not read.)
--
-- The caller has assumed what it could not know: the conversation's own model (unless the request names one) and how
-- long its system prompt is. Where that is wrong nothing is written, `created_at` is null, and the caller tries again
-- with what it has been told. No row: the conversation is not there, or not this user's. Another answer still being
-- generated: unique_violation.
CREATE FUNCTION turn.begin(
    p_tenant uuid, p_user uuid, p_conversation uuid,
    p_is_model_given boolean, p_conversation_model text, p_max_system_bytes bigint, p_max_messages integer,
    p_max_bytes bigint,
    p_question uuid, p_content_sealed bytea, p_metadata_sealed bytea, p_documents_sealed bytea,
    p_answer uuid, p_empty_sealed bytea, p_model text, p_input_tokens integer, p_process uuid,
    p_audit uuid, p_actor_type text, p_actor uuid, p_address text, p_details jsonb,
    OUT created_at timestamptz, OUT answer_position integer, OUT conversation_model text,
    OUT system_prompt_sealed bytea, OUT ids uuid[], OUT roles text[], OUT contents bytea[]
)
RETURNS SETOF record
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_is_new boolean;
    v_history_bytes bigint;
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true), set_config('app.user_id', p_user::text, true);
    UPDATE public.conversations c
    SET message_count = c.message_count + 2, updated_at = now()
    WHERE c.tenant_id = p_tenant AND c.id = p_conversation AND (c.user_id = p_user OR c.visibility = 'tenant')
        AND (p_is_model_given OR c.model IS NOT DISTINCT FROM p_conversation_model)
        AND coalesce(octet_length(c.system_prompt_sealed), 0) <= p_max_system_bytes
        -- Not a repeat: then the newest message would be this answer. Nor while background answers wait their turn.
        AND NOT EXISTS (
            SELECT FROM public.messages m
            WHERE m.tenant_id = p_tenant AND m.conversation_id = p_conversation AND m.position = c.message_count
                AND (m.id = p_answer OR m.status = 'pending')
        )
    RETURNING c.message_count, c.model, c.system_prompt_sealed
    INTO answer_position, conversation_model, system_prompt_sealed;
    v_is_new := FOUND;
    IF NOT v_is_new THEN
        SELECT m.position, m.created_at, c.model, c.system_prompt_sealed
        INTO answer_position, created_at, conversation_model, system_prompt_sealed
        FROM public.conversations c
        LEFT JOIN public.messages m
            ON m.tenant_id = c.tenant_id AND m.conversation_id = c.id AND m.position = c.message_count
            AND m.id = p_answer
        WHERE c.tenant_id = p_tenant AND c.id = p_conversation AND (c.user_id = p_user OR c.visibility = 'tenant');
        IF NOT FOUND THEN
            RETURN;
        ELSIF answer_position IS NULL THEN
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    -- A statement of its own after the lock: it sees the answer whose end the lock has waited for.
    WITH newest AS (
        SELECT m.id, m.role, m.content_sealed, m.position,
            sum(octet_length(m.content_sealed)) OVER (ORDER BY m.position DESC) AS bytes
        FROM public.messages m
        WHERE m.tenant_id = p_tenant AND m.conversation_id = p_conversation AND m.position < answer_position - 1
            AND m.status IN ('completed', 'cancelled', 'interrupted')
        ORDER BY m.position DESC
        LIMIT p_max_messages
    )
    SELECT
        coalesce(array_agg(n.id ORDER BY n.position DESC), '{}'),
        coalesce(array_agg(n.role ORDER BY n.position DESC), '{}'),
        coalesce(array_agg(n.content_sealed ORDER BY n.position DESC), '{}'),
        coalesce(max(n.bytes), 0)
    INTO ids, roles, contents, v_history_bytes
    FROM newest n
    WHERE n.bytes <= p_max_bytes;
    IF v_is_new THEN
        INSERT INTO public.messages (
            tenant_id, id, conversation_id, position, role, status, user_id, content_sealed, metadata_sealed,
            documents_sealed, model, input_tokens, usage_estimated, process_id
        ) VALUES (
            p_tenant, p_question, p_conversation, answer_position - 1, 'user', 'completed', p_user, p_content_sealed,
            p_metadata_sealed, p_documents_sealed, NULL, NULL, false, NULL
        ), (
            p_tenant, p_answer, p_conversation, answer_position, 'assistant', 'generating', p_user, p_empty_sealed,
            -- For the bill of an answer whose process dies: four bytes a token, as the caller counts its own part, and
            -- no more than there is room for.
            NULL, NULL, p_model,
            p_input_tokens
                + least(v_history_bytes + coalesce(octet_length(system_prompt_sealed), 0), p_max_system_bytes) / 4,
            true, p_process
        );
        INSERT INTO public.audit_log (
            tenant_id, id, actor_type, actor_id, user_id, action, resource_type, resource_id, address, details
        ) VALUES (
            p_tenant, p_audit, p_actor_type, p_actor, p_user, 'message.created', 'message', p_answer, p_address,
            p_details
        );
        created_at := now();
    END IF;
    RETURN NEXT;
END $$;

-- Whether somebody outside wants to be told of an event. Nobody can yet; a later schema knows better.
CREATE FUNCTION turn.has_listeners(p_tenant uuid, p_event text)
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN false;
END $$;

-- The end of an answer, whatever it is, and its line on the bill. False, and nothing is written, when the answer has
-- passed to another process or is gone; true also where this very end was stored before. Null, and nothing is written,
-- where it comes alone but should not: somebody listens, and what tells them belongs into the same transaction.
CREATE FUNCTION turn.finish(
    p_tenant uuid, p_user uuid, p_conversation uuid, p_position integer, p_answer uuid, p_process uuid,
    p_fence integer,
    p_status text, p_content_sealed bytea, p_events_sealed bytea, p_citations_sealed bytea,
    p_finish_reason text, p_error_code text, p_degraded boolean,
    p_call uuid, p_api_key uuid, p_provider text, p_model text, p_input_tokens integer, p_output_tokens integer,
    p_cached_tokens integer, p_reasoning_tokens integer, p_cost_usd numeric, p_estimated boolean,
    p_first_token_ms integer, p_total_ms integer, p_is_alone boolean
)
RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', p_tenant::text, true), set_config('app.user_id', p_user::text, true);
    IF p_is_alone AND turn.has_listeners(p_tenant, 'message.created') THEN
        RETURN NULL;
    END IF;
    -- The conversation first, as in turn.begin: the other order would deadlock with the next question.
    UPDATE public.conversations SET updated_at = now()
    WHERE tenant_id = p_tenant AND id = p_conversation AND EXISTS (
        SELECT FROM public.messages m
        WHERE m.tenant_id = p_tenant AND m.conversation_id = p_conversation AND m.position = p_position
            AND m.id = p_answer
            AND (m.status, m.process_id, m.fence) IS NOT DISTINCT FROM ('generating', p_process, p_fence)
    );
    UPDATE public.messages
    SET status = p_status, content_sealed = p_content_sealed, events_sealed = p_events_sealed,
        citations_sealed = p_citations_sealed, finish_reason = p_finish_reason, error_code = p_error_code,
        input_tokens = p_input_tokens, output_tokens = p_output_tokens, cached_tokens = p_cached_tokens,
        cost_usd = p_cost_usd, usage_estimated = p_estimated, degraded = p_degraded, completed_at = now(),
        process_id = NULL
    -- Not `status = 'generating'`: that would invite the small indexes of what is being generated, and N answers at
    -- once would each read N rows.
    WHERE tenant_id = p_tenant AND conversation_id = p_conversation AND position = p_position AND id = p_answer
        AND (status, process_id, fence) IS NOT DISTINCT FROM ('generating', p_process, p_fence);
    IF NOT FOUND THEN
        RETURN EXISTS (SELECT FROM public.llm_calls c WHERE c.tenant_id = p_tenant AND c.id = p_call)
            AND EXISTS (SELECT FROM public.messages m WHERE m.tenant_id = p_tenant AND m.id = p_answer);
    END IF;
    INSERT INTO public.llm_calls (
        tenant_id, id, user_id, api_key_id, conversation_id, message_id, provider, model, outcome, finish_reason,
        input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd, estimated, first_token_ms, total_ms
    ) VALUES (
        p_tenant, p_call, p_user, p_api_key, p_conversation, p_answer, p_provider, p_model, p_status, p_finish_reason,
        p_input_tokens, p_output_tokens, p_cached_tokens, p_reasoning_tokens, p_cost_usd, p_estimated,
        p_first_token_ms, p_total_ms
    );
    RETURN true;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA turn FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA turn TO copilot_app;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (2, 'turns', 1);

COMMIT;
