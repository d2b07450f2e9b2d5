-- Whether ENCRYPTION_KEY is the one that this database's data keys are wrapped under: a process asks before it serves.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

GRANT USAGE ON SCHEMA copilot_keys TO copilot_dispatch;
GRANT SELECT (tenant_id, key_id, wrapped) ON copilot_keys.tenant_keys TO copilot_dispatch;
CREATE POLICY dispatch_sees_tenant_keys ON copilot_keys.tenant_keys FOR SELECT TO copilot_dispatch USING (true);

-- The oldest tenant's first data key, wrapped; no row where there is none yet.
CREATE FUNCTION dispatch.any_data_key()
RETURNS TABLE (tenant_id uuid, key_id integer, wrapped bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT k.tenant_id, k.key_id::integer, k.wrapped FROM copilot_keys.tenant_keys k
    ORDER BY k.tenant_id, k.key_id
    LIMIT 1;
END $$;
REVOKE ALL ON FUNCTION dispatch.any_data_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatch.any_data_key TO copilot_app;
ALTER FUNCTION dispatch.any_data_key OWNER TO copilot_dispatch;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (16, 'key_check', 14);

COMMIT;
