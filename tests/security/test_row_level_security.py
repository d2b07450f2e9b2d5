"""The wall: no table of a tenant without forced row-level security, no way around it for copilot_app."""

from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from support.api import Site
from support.stack import Database

# Tables without a tenant, and why copilot_app may read them or not at all.
NOT_OF_A_TENANT = {"schema_migrations": "read", "platform_keys": None, "processes": None, "job_cursors": None}
Table = tuple[str, str]


@pytest.fixture
def admin(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def app(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        yield connection


def tables(admin: psycopg.Connection) -> list[Table]:
    query = """
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    """
    return [(schema, name) for schema, name in admin.execute(query).fetchall()]


def tenant_tables(admin: psycopg.Connection) -> list[Table]:
    return [table for table in tables(admin) if table[1] not in NOT_OF_A_TENANT]


def test_every_table_is_a_tenants_or_known_not_to_be(admin: psycopg.Connection) -> None:
    """A new table without tenant_id must be thought about, here."""
    with_tenant = """
        SELECT table_name FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE column_name = 'tenant_id' AND table_type = 'BASE TABLE'
    """
    have = {row[0] for row in admin.execute(with_tenant).fetchall()}
    assert {name for _, name in tables(admin)} == have | NOT_OF_A_TENANT.keys() | {"tenants", "users"}


def test_every_view_shows_what_its_reader_may_see(admin: psycopg.Connection) -> None:
    """Not what its owner may, who bypasses row-level security."""
    query = """
        SELECT c.relname, c.reloptions @> '{security_invoker=true}' FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm') AND n.nspname IN ('public', 'copilot_keys', 'dispatch')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
    """
    assert all(is_invokers for _, is_invokers in admin.execute(query).fetchall())


def test_every_tenant_table_has_forced_row_level_security_and_policies_for_known_roles(
    admin: psycopg.Connection,
) -> None:
    for schema, name in tenant_tables(admin):
        flags = admin.execute(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", [f"{schema}.{name}"]
        ).fetchone()
        assert flags == (True, True), f"{schema}.{name}"
        query = "SELECT unnest(roles)::text FROM pg_policies WHERE schemaname = %s AND tablename = %s"
        roles = [row[0] for row in admin.execute(query, [schema, name]).fetchall()]
        assert "copilot_app" in roles, f"{schema}.{name}"
        assert set(roles) <= {"copilot_app", "copilot_dispatch"}, f"{schema}.{name}: a policy for everybody"


def test_every_policy_of_copilot_app_compares_with_the_tenant_that_is_set(admin: psycopg.Connection) -> None:
    query = "SELECT tablename, policyname, qual, with_check FROM pg_policies WHERE 'copilot_app' = ANY (roles)"
    for table, policy, using, with_check in admin.execute(query).fetchall():
        if table in {"tenants", "users"}:
            continue
        expected = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
        assert (using, with_check) == (expected, expected), policy


def test_the_guides_policy_keeps_its_name(admin: psycopg.Connection) -> None:
    query = (
        "SELECT 1 FROM pg_policies WHERE tablename = 'conversations' AND policyname = 'tenant_isolation_conversations'"
    )
    assert admin.execute(query).fetchone()


def test_the_services_role_owns_nothing_and_bypasses_nothing(admin: psycopg.Connection) -> None:
    role = "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'copilot_app'"
    assert admin.execute(role).fetchone() == (False, False, False, False)
    owned = "SELECT count(*) FROM pg_class WHERE relowner = 'copilot_app'::regrole"
    assert admin.execute(owned).fetchone() == (0,)
    memberships = "SELECT count(*) FROM pg_auth_members WHERE member = 'copilot_app'::regrole"
    assert admin.execute(memberships).fetchone() == (0,)
    assert admin.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'copilot_dispatch'").fetchone() == (False,)


def test_foreign_keys_between_tenant_tables_include_the_tenant(admin: psycopg.Connection) -> None:
    """They ignore row-level security: without tenant_id one could point at another tenant's row."""
    query = """
        SELECT conrelid::regclass::text, confrelid::regclass::text, (
            SELECT array_agg(a.attname::text) FROM pg_attribute a
            WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        )
        FROM pg_constraint c WHERE contype = 'f'
    """
    for table, target, columns in admin.execute(query).fetchall():
        if target != "users":  # users are global
            assert "tenant_id" in columns, f"{table} → {target}"


def test_definer_functions_have_a_fixed_search_path_and_the_owner_that_can_do_least(admin: psycopg.Connection) -> None:
    query = """
        SELECT p.proname, p.proowner::regrole::text, p.proconfig, n.nspname,
            has_function_privilege('public', p.oid, 'execute')
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    """
    found = admin.execute(query).fetchall()
    assert found
    for name, owner, config, schema, is_public in found:
        assert (owner, schema, is_public) == ("copilot_dispatch", "dispatch", False), name
        # What else may be set says how to plan, never what to see.
        assert set(config) - {"enable_seqscan=off"} == {"search_path=pg_catalog, pg_temp"}, name


FILL = """
    INSERT INTO invites (tenant_id, id, email, role, invited_by, expires_at)
        VALUES (%(tenant)s, %(id)s, 'a@b.example', 'member', %(user)s, now());
    INSERT INTO refresh_tokens (tenant_id, id, family_id, user_id, expires_at)
        VALUES (%(tenant)s, %(id)s, %(id)s, %(user)s, now());
    INSERT INTO conversations (tenant_id, id, user_id, metadata_sealed) VALUES (%(tenant)s, %(id)s, %(user)s, '');
    INSERT INTO messages (tenant_id, id, conversation_id, position, role, status, user_id, content_sealed)
        VALUES (%(tenant)s, %(id)s, %(id)s, 1, 'user', 'completed', %(user)s, '');
    INSERT INTO message_feedback (tenant_id, message_id, user_id, rating) VALUES (%(tenant)s, %(id)s, %(user)s, 1);
    INSERT INTO llm_calls (tenant_id, id, user_id, provider, model, outcome, input_tokens, output_tokens, cached_tokens,
        reasoning_tokens, estimated, total_ms)
        VALUES (%(tenant)s, %(id)s, %(user)s, '', '', 'completed', 1, 1, 0, 0, false, 1);
    INSERT INTO idempotency_keys (tenant_id, principal_id, method, path, key, id, request_hash, process_id)
        VALUES (%(tenant)s, %(user)s, 'POST', '/', 'k', %(id)s, '', %(id)s);
    INSERT INTO context_collections (tenant_id, id, user_id, name_sealed) VALUES (%(tenant)s, %(id)s, %(user)s, '');
    INSERT INTO context_items (tenant_id, id, user_id, name_sealed, type)
        VALUES (%(tenant)s, %(id)s, %(user)s, '', 'text');
    INSERT INTO context_chunks (tenant_id, id, item_id, attempt, number, start_offset, end_offset, token_count,
        text_hash, text_sealed)
        VALUES (%(tenant)s, %(id)s, %(id)s, 1, 1, 0, 1, 1, '', '');
    INSERT INTO context_labels (tenant_id, label, item_id) VALUES (%(tenant)s, 1, %(id)s);
    INSERT INTO context_indexes (tenant_id, model) VALUES (%(tenant)s, 'm');
    INSERT INTO context_segments (tenant_id, id, level, chunk_count, term_total, languages, layout)
        VALUES (%(tenant)s, %(id)s, 1, 1, 1, '{}', '');
    INSERT INTO context_segment_codes (tenant_id, segment_id, model, codes) VALUES (%(tenant)s, %(id)s, 'm', '');
    INSERT INTO context_posting_blocks (tenant_id, segment_id, first_term, terms, postings)
        VALUES (%(tenant)s, %(id)s, 1, '{1}', '{""}');
    INSERT INTO context_embeddings_wide (tenant_id, chunk_id, model, embedding) VALUES (%(tenant)s, %(id)s, 'm', '[1]');
    INSERT INTO jobs (tenant_id, id, queue, kind, class, payload, user_id, max_failures)
        VALUES (%(tenant)s, %(id)s, 'workflow', 'nothing.do/1', 1, '', %(user)s, 1);
    INSERT INTO job_signals (tenant_id, id, job_id, name) VALUES (%(tenant)s, %(id)s, %(id)s, 'cancel');
    INSERT INTO context_embeddings (tenant_id, chunk_id, model, embedding)
        VALUES (%(tenant)s, %(id)s, 'm', array_fill(0.1, ARRAY[256])::vector);
    INSERT INTO blobs (tenant_id, id) VALUES (%(tenant)s, %(id)s);
    INSERT INTO blob_pieces (tenant_id, blob_id, number, content_sealed) VALUES (%(tenant)s, %(id)s, 0, '');
    INSERT INTO blob_removals (tenant_id, blob_id, object_count, due_at) VALUES (%(tenant)s, %(id)s, 1, now());
    INSERT INTO webhooks (tenant_id, id, user_id, url_sealed, events, secret_sealed)
        VALUES (%(tenant)s, %(id)s, %(user)s, '', '{message.created}', '');
    INSERT INTO webhook_deliveries (tenant_id, id, webhook_id, event, body_sealed, job_id)
        VALUES (%(tenant)s, %(id)s, %(id)s, 'message.created', '', %(id)s);
    INSERT INTO workflows (tenant_id, id, user_id, name_sealed, current_version)
        VALUES (%(tenant)s, %(id)s, %(user)s, '', 1);
    INSERT INTO workflow_versions (tenant_id, workflow_id, version, definition_sealed, user_id)
        VALUES (%(tenant)s, %(id)s, 1, '', %(user)s);
    INSERT INTO workflow_runs (tenant_id, id, workflow_id, version, job_id, user_id, inputs_sealed)
        VALUES (%(tenant)s, %(id)s, %(id)s, 1, %(id)s, %(user)s, '');
    INSERT INTO workflow_steps (tenant_id, run_id, path, attempt, step_id, type, status, started_at)
        VALUES (%(tenant)s, %(id)s, 'a', 1, 'a', 'transform', 'completed', now());
    INSERT INTO workflow_reviews (tenant_id, id, run_id, path, attempt, event, prompt_sealed)
        VALUES (%(tenant)s, %(id)s, %(id)s, 'a', 1, 1, '');
    INSERT INTO workflow_run_slots (tenant_id, run_id, workflow_id, key_hash, slot_limit, is_held, created_at)
        VALUES (%(tenant)s, %(id)s, %(id)s, '', 1, true, now());
    INSERT INTO workflow_schedules (tenant_id, id, workflow_id, user_id, cron, timezone, misfire, inputs_sealed,
        next_at) VALUES (%(tenant)s, %(id)s, %(id)s, %(user)s, '', '', 'skip', '', now());
    INSERT INTO workflow_triggers (tenant_id, id, workflow_id, user_id, name_sealed, secret_sealed)
        VALUES (%(tenant)s, %(id)s, %(id)s, %(user)s, '', '');
    INSERT INTO workflow_trigger_calls (tenant_id, trigger_id, call_hash, run_id, expires_at)
        VALUES (%(tenant)s, %(id)s, '', %(id)s, now());
    INSERT INTO mcp_servers (tenant_id, id, user_id, name, url_sealed)
        VALUES (%(tenant)s, %(id)s, %(user)s, 'files', '');
"""


@pytest.fixture
def filled(site: Site, admin: psycopg.Connection) -> Site:
    """Rows of both tenants in every tenant table."""
    for who in (site.acme, site.other):
        params = {"tenant": who.tenant_id, "user": who.user_id, "id": uuid4()}
        psycopg.ClientCursor(admin).execute(FILL, params)
    for schema, name in tenant_tables(admin):
        count = admin.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))).fetchone()
        assert count, name
        assert count[0] >= 2, f"{name}: this fixture must fill it"
    return site


def set_tenant(app: psycopg.Connection, tenant: str, user: str = "") -> None:
    app.execute("SELECT set_config('app.tenant_id', %s, false), set_config('app.user_id', %s, false)", [tenant, user])


def readable(table: Table) -> sql.Composed:
    """users.password_hash may not even be named."""
    column = "id" if table[1] == "users" else "*"
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(column), sql.Identifier(*table))


@pytest.mark.parametrize("setting", [None, "", "00000000-0000-0000-0000-000000000000"])
def test_with_no_tenant_set_every_table_is_empty(
    filled: Site, admin: psycopg.Connection, app: psycopg.Connection, setting: str | None
) -> None:
    if setting is not None:
        set_tenant(app, setting, setting)
    for table in tenant_tables(admin):
        assert app.execute(readable(table)).fetchall() == [], table


def test_a_tenant_sees_its_own_rows_and_none_of_the_other(
    filled: Site, admin: psycopg.Connection, app: psycopg.Connection
) -> None:
    set_tenant(app, filled.acme.tenant_id, filled.acme.user_id)
    for schema, name in tenant_tables(admin):
        column = "id" if name in {"tenants", "users"} else "tenant_id"
        query = sql.SQL("SELECT {}::text FROM {}").format(sql.Identifier(column), sql.Identifier(schema, name))
        expected = filled.acme.user_id if name == "users" else filled.acme.tenant_id
        assert {row[0] for row in app.execute(query).fetchall()} == {expected}, name


def test_a_tenant_can_neither_write_nor_take_nor_delete_another_ones_rows(
    filled: Site, admin: psycopg.Connection, app: psycopg.Connection
) -> None:
    set_tenant(app, filled.acme.tenant_id, filled.acme.user_id)
    for schema, name in tenant_tables(admin):
        if name in {"tenants", "users"}:
            continue
        table = sql.Identifier(schema, name)
        give_away = sql.SQL("UPDATE {} SET tenant_id = %s").format(table)
        with pytest.raises(InsufficientPrivilege):
            app.execute(give_away, [filled.other.tenant_id])
        take = sql.SQL("UPDATE {} SET tenant_id = %s WHERE tenant_id = %s").format(table)
        delete = sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(table)
        for statement, params in (
            (take, [filled.acme.tenant_id, filled.other.tenant_id]),
            (delete, [filled.other.tenant_id]),
        ):
            with suppress(InsufficientPrivilege):  # no right to it at all
                assert app.execute(statement, params).rowcount == 0, name
        row = admin.execute(
            sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE tenant_id = %s LIMIT 1").format(table), [filled.other.tenant_id]
        ).fetchone()
        assert row
        insert = sql.SQL("INSERT INTO {} SELECT * FROM jsonb_populate_record(null::{}, %s)").format(table, table)
        with pytest.raises(InsufficientPrivilege):
            app.execute(insert, [psycopg.types.json.Jsonb(row[0])])


def test_the_services_role_reads_no_password_hash_and_no_table_that_is_not_its_own(app: psycopg.Connection) -> None:
    forbidden = [
        "SELECT password_hash FROM users",
        "SELECT * FROM users",
        "TRUNCATE conversations",
        "DROP TABLE messages",
    ]
    forbidden += [f"SELECT * FROM {table}" for table, right in NOT_OF_A_TENANT.items() if right is None]
    forbidden += ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "DELETE FROM llm_calls"]
    forbidden += ["UPDATE webhooks SET secret_sealed = ''", "UPDATE webhook_deliveries SET body_sealed = ''"]
    forbidden += ["DELETE FROM webhook_deliveries"]
    forbidden += ["UPDATE workflow_versions SET definition_sealed = ''", "DELETE FROM workflow_versions"]
    forbidden += ["UPDATE workflows SET user_id = id", "DELETE FROM workflows"]
    forbidden += ["UPDATE workflow_runs SET inputs_sealed = ''", "DELETE FROM workflow_steps"]
    forbidden += ["UPDATE workflow_reviews SET prompt_sealed = ''", "DELETE FROM workflow_runs"]
    forbidden += ["UPDATE workflow_schedules SET user_id = id", "UPDATE workflow_schedules SET inputs_sealed = ''"]
    forbidden += ["UPDATE workflow_triggers SET user_id = id", "UPDATE workflow_triggers SET secret_sealed = ''"]
    forbidden += ["DELETE FROM workflow_trigger_calls", "UPDATE workflow_trigger_calls SET expires_at = now()"]
    forbidden += ["UPDATE mcp_servers SET name = 'x'", "UPDATE mcp_servers SET url_sealed = ''"]
    forbidden += ["UPDATE context_collections SET user_id = id"]
    forbidden += ["UPDATE blob_pieces SET number = 1", "DELETE FROM blob_pieces", "UPDATE blobs SET created_at = now()"]
    forbidden += ["UPDATE blob_removals SET due_at = now()", "DELETE FROM blob_removals"]
    forbidden += ["UPDATE schema_migrations SET version = 9", "CREATE TABLE public.mine ()", "CREATE SCHEMA mine"]
    forbidden += [f"SET ROLE {role}" for role in ("copilot_owner", "copilot_dispatch", "copilot_backup", "copilot")]
    forbidden += ["ALTER TABLE conversations DISABLE ROW LEVEL SECURITY", "DROP POLICY own_row_users ON users"]
    for statement in forbidden:
        with pytest.raises(InsufficientPrivilege):
            app.execute(statement.encode())


def test_turning_row_security_off_gives_an_error_and_no_rows(filled: Site, app: psycopg.Connection) -> None:
    app.execute("SET row_security = off")
    with pytest.raises(InsufficientPrivilege):
        app.execute("SELECT * FROM conversations")
