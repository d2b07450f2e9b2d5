"""Another tenant, and a connection that names none, see nothing."""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import psycopg
from psycopg import errors, sql

from copilot_cli.client import ApiClient, ApiError, Item, Message, Question
from copilot_cli.places import Remote
from copilot_devstack.demo.dumps import tables_of
from copilot_devstack.demo.exchange import Transcript
from copilot_devstack.demo.screen import Screen
from copilot_devstack.state import DevState
from copilot_domain.tenants.bootstrap import bootstrap

_SLUG = "elsewhere"
# Says which migrations ran, of no tenant.
_PUBLIC_TABLES = {("public", "schema_migrations")}


def look_from_elsewhere(screen: Screen, state: DevState, encryption_key: bytes, transcript: Transcript) -> None:
    remote = Remote(state.base_url, _found_tenant(state, encryption_key), "the demo")
    with ApiClient(remote) as stranger:
        attempts = [attempt for message in transcript.messages for attempt in _attempts(stranger, message)]
        attempts += [attempt for item in transcript.items for attempt in _attempts_on(stranger, item)]
        seen = [name for name, attempt in attempts if not _is_not_found(attempt)]
        screen.check(
            f"another tenant's key: {len(attempts)} requests for our ids, each answered 404",
            kept=bool(attempts) and not seen,
            otherwise=f"another tenant got something else than 404 for: {', '.join(seen) or 'nothing was tried'}",
        )
        screen.check(
            "its conversations, usage, context and jobs are empty, and its search finds nothing",
            kept=not any(_lists(stranger, transcript)),
            otherwise="another tenant's lists are not empty",
        )


def look_without_tenant(screen: Screen, state: DevState) -> None:
    """As the services' own role, before it has said for which tenant."""
    tables = [table for table in tables_of(state.admin_database_url) if table not in _PUBLIC_TABLES]
    with psycopg.connect(state.database_url, autocommit=True) as connection:
        visible = {table: _visible_rows(connection, *table) for table in tables}
    shown = [f"{schema}.{table}" for (schema, table), rows in visible.items() if rows]
    closed = sum(1 for rows in visible.values() if rows is None)
    screen.check(
        f"role copilot_app with no tenant set: 0 rows in {len(tables) - closed} tables, {closed} closed to it",
        kept=not shown and closed < len(tables),
        otherwise=f"rows are visible without a tenant in {', '.join(shown)}",
    )


def _found_tenant(state: DevState, encryption_key: bytes) -> str:
    made = asyncio.run(
        bootstrap(
            state.migration_database_url,
            encryption_key=encryption_key,
            tenant_slug=_SLUG,
            tenant_name="Somebody else",
            admin_email="admin@elsewhere.example",
            admin_username="elsewhere",
            admin_password=secrets.token_urlsafe(18),
        )
    )
    return made.api_key or ""


def _attempts(client: ApiClient, message: Message) -> list[tuple[str, Callable[[], object]]]:
    """Reading, asking, following and stopping, by ids that are ours."""
    conversation_id: UUID = message.conversation_id
    return [
        ("conversation", lambda: client.conversation(conversation_id)),
        ("messages", lambda: list(client.messages(conversation_id, 10))),
        ("message", lambda: client.message(conversation_id, message.id)),
        ("stream", lambda: list(client.replay(conversation_id, message.id))),
        ("ask", lambda: client.ask(conversation_id, Question("Who is here?"))),
        ("cancel", lambda: client.cancel(conversation_id, message.id)),
    ]


def _attempts_on(client: ApiClient, item: Item) -> list[tuple[str, Callable[[], object]]]:
    return [
        ("item", lambda: client.context.show(item.id)),
        ("delete", lambda: client.context.remove(item.id)),
    ]


def _lists(client: ApiClient, transcript: Transcript) -> Iterator[Sequence[object]]:
    yield list(client.conversations(10))
    yield client.usage(since=None, until=None, group_by="day")
    yield list(client.context.list(10))
    yield list(client.jobs.list(10))
    yield from (client.context.search(asked.question, limit=10).results for asked in transcript.asked)


def _is_not_found(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ApiError as error:
        return error.status == 404 and error.code == "NOT_FOUND"
    return False


def _visible_rows(connection: "psycopg.Connection[tuple[object, ...]]", schema: str, table: str) -> int | None:
    """None where the role may not even ask."""
    try:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
    except errors.InsufficientPrivilege:
        return None
    return row[0] if row and isinstance(row[0], int) else 0
