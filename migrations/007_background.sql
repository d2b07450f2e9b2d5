-- 007_background: answers that are made in the background, each by a job of the ledger.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/007_background.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

-- Set: the answer is this job's, and whoever takes the job over takes it over too. Null: it belongs to a process alone.
ALTER TABLE messages ADD COLUMN job_id uuid;

CREATE INDEX messages_of_jobs ON messages (job_id) WHERE job_id IS NOT NULL AND status IN ('pending', 'generating');
DROP POLICY dispatch_messages ON messages;
CREATE POLICY dispatch_messages ON messages TO copilot_dispatch USING (status IN ('pending', 'generating'));
GRANT SELECT (job_id), UPDATE (status) ON messages TO copilot_dispatch;

-- Answers that nobody will end any more go to `p_process`, which must then end them: those of dead processes that no job
-- takes over, and those whose job has ended without them (dead, cancelled). One sweeper at a time. Its own are among
-- them when it does not know of them (`p_known`): a request cancelled in the middle of its commit leaves such a row.
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
        WHERE m.status = 'generating' AND m.job_id IS NULL AND CASE
            WHEN m.process_id = p_process
                THEN m.id <> ALL (p_known) AND m.created_at < clock_timestamp() - interval '10 seconds'
            ELSE NOT EXISTS (
                SELECT FROM public.processes p WHERE p.id = m.process_id AND p.lease_expires_at > clock_timestamp()
            )
        END
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ), jobless AS (
        SELECT m.tenant_id, m.id
        FROM public.messages m
        WHERE m.job_id IS NOT NULL AND m.status IN ('pending', 'generating') AND NOT EXISTS (
            SELECT FROM public.jobs j
            WHERE j.tenant_id = m.tenant_id AND j.id = m.job_id AND j.status IN ('pending', 'scheduled', 'running')
        )
        -- One of a conversation at a time, the oldest: two could not be `generating` at once. The others follow.
        AND (m.status = 'generating' OR NOT EXISTS (
            SELECT FROM public.messages o
            WHERE o.tenant_id = m.tenant_id AND o.conversation_id = m.conversation_id AND o.id <> m.id
                AND (o.status = 'generating' OR (o.status = 'pending' AND o.id < m.id))
        ))
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ), orphans AS (
        SELECT * FROM lapsed UNION ALL SELECT * FROM jobless
    )
    UPDATE public.messages m SET process_id = p_process, fence = m.fence + 1, status = 'generating'
    FROM orphans
    WHERE m.tenant_id = orphans.tenant_id AND m.id = orphans.id
    RETURNING m.tenant_id, m.conversation_id, m.id, m.user_id, m.fence;
END $$;

-- Webhooks listen.
CREATE OR REPLACE FUNCTION turn.has_listeners(p_tenant uuid, p_event text)
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM public.webhooks w WHERE w.tenant_id = p_tenant AND w.is_active AND p_event = ANY (w.events)
    );
END $$;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (7, 'background', 1);

COMMIT;
