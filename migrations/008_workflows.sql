-- 008_workflows: definitions of workflows, and every version of them.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/008_workflows.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE TABLE workflows (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    user_id uuid NOT NULL,                   -- who made it; it stays when they leave
    name_sealed bytea NOT NULL,              -- of the current version, for lists
    description_sealed bytea,
    current_version integer NOT NULL CHECK (current_version > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,                  -- set: nobody finds it any more, but runs of its versions go on
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX workflows_list ON workflows (tenant_id, id) WHERE deleted_at IS NULL;

CREATE TABLE workflow_versions (
    tenant_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    definition_sealed bytea NOT NULL,
    user_id uuid NOT NULL,                   -- who made this version
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, workflow_id, version),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows ON DELETE CASCADE
);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['workflows', 'workflow_versions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            $policy$
            CREATE POLICY %I ON %I TO copilot_app
                USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
            $policy$, 'tenant_isolation_' || tenant_table, tenant_table);
    END LOOP;
END $$;

-- A version never changes, and no row goes but with its tenant.
GRANT SELECT, INSERT ON workflows, workflow_versions TO copilot_app;
GRANT UPDATE (name_sealed, description_sealed, current_version, updated_at, deleted_at) ON workflows TO copilot_app;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (8, 'workflows', 1);

COMMIT;
