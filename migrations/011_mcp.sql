-- 011_mcp: MCP servers that tenants have registered; steps of workflows call their tools.
--
-- Run as the administrator or as copilot_owner:  psql -U copilot -d copilot -f migrations/011_mcp.sql
-- or by `copilot migrate up`.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL ROLE copilot_owner;

CREATE TABLE mcp_servers (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    user_id uuid NOT NULL,                   -- who registered it; it stays when they leave
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),  -- definitions call it by this
    url_sealed bytea NOT NULL,
    headers_sealed bytea,                    -- null where it has none; they may carry a credential
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);

ALTER TABLE mcp_servers ENABLE ROW LEVEL SECURITY;
ALTER TABLE mcp_servers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation_mcp_servers ON mcp_servers TO copilot_app
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- A server never changes: whoever wants another URL or other headers registers it anew.
GRANT SELECT, INSERT, DELETE ON mcp_servers TO copilot_app;

INSERT INTO schema_migrations (version, name, oldest_build) VALUES (11, 'mcp', 1);

COMMIT;
