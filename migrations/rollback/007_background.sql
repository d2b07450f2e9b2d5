-- Undo 007_background: which job an answer belongs to. Background answers that have not ended are ended here.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE OR REPLACE FUNCTION turn.has_listeners(p_tenant uuid, p_event text)
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN false;
END $$;

UPDATE messages SET status = 'interrupted', process_id = NULL, completed_at = now()
WHERE job_id IS NOT NULL AND status IN ('pending', 'generating');

CREATE OR REPLACE FUNCTION dispatch.claim_lapsed_generations(p_process uuid, p_known uuid[], p_limit integer)
RETURNS TABLE (tenant_id uuid, conversation_id uuid, message_id uuid, user_id uuid, fence integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('copilot sweep generations'))
        OR pg_postmaster_start_time() > clock_timestamp() - interval '6 seconds' THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH lapsed AS (
        SELECT m.tenant_id, m.id
        FROM public.messages m
        WHERE m.status = 'generating' AND CASE
            WHEN m.process_id = p_process
                THEN m.id <> ALL (p_known) AND m.created_at < clock_timestamp() - interval '10 seconds'
            ELSE NOT EXISTS (
                SELECT FROM public.processes p WHERE p.id = m.process_id AND p.lease_expires_at > clock_timestamp()
            )
        END
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE public.messages m SET process_id = p_process, fence = m.fence + 1
    FROM lapsed
    WHERE m.tenant_id = lapsed.tenant_id AND m.id = lapsed.id
    RETURNING m.tenant_id, m.conversation_id, m.id, m.user_id, m.fence;
END $$;
DROP POLICY dispatch_messages ON messages;
CREATE POLICY dispatch_messages ON messages TO copilot_dispatch USING (status = 'generating');
REVOKE UPDATE (status) ON messages FROM copilot_dispatch;
ALTER TABLE messages DROP COLUMN job_id;
DELETE FROM schema_migrations WHERE version = 7;

COMMIT;
