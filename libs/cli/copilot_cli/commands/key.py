"""`copilot key …`: one's own API keys through the API, platform keys against the database."""

from typing import Annotated
from uuid import UUID

import typer

from copilot_cli.options import USER_PANEL, AsJson, Limit

KeyId = Annotated[UUID, typer.Argument(help="The key's id, from `list`.")]
_SCOPES = "read, write, chat, workflows, context or admin"
_PLATFORM_PANEL = "Platform keys: they manage tenants (MIGRATION_DATABASE_URL)"


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys and platform keys.")
    group.command()(create)
    group.command("list")(list_)
    group.command()(revoke)
    for command in (create_platform, list_platform, revoke_platform):
        group.command(rich_help_panel=_PLATFORM_PANEL)(command)
    app.add_typer(group, name="key", rich_help_panel=USER_PANEL)


def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str] | None, typer.Option("--scope", "-s", help=f"{_SCOPES}; repeat for several.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Never, if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key of your own, shown once. Without --scope it may read and chat."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import note, print_fields, print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        made = client.create_key(name, scope or ["read", "chat"], expires_in_days=expires_in_days)
    if as_json:
        print_json(made)
        return
    print_fields({"id": made.id, "key": made.key, "scopes": made.scopes, "expires": made.expires_at or "never"})
    note("The key is shown only now: keep it.")


def list_(limit: Limit = 100, as_json: AsJson = False) -> None:
    """List your API keys, the newest first."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        keys = list(client.keys(limit))
    if as_json:
        print_json(keys)
        return
    columns = ["name", "prefix", "scopes", "active", "last used", "expires", "id"]
    rows = [(key.name, key.prefix, key.scopes, key.is_active, key.last_used_at, key.expires_at, key.id) for key in keys]
    print_table(columns, rows, empty="No keys yet: copilot key create NAME")


def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """End an API key; it is refused from the next request on."""
    from copilot_cli.client import ApiClient
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        client.revoke_key(key_id)
    _say_revoked(key_id, as_json=as_json)


def create_platform(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    as_json: AsJson = False,
) -> None:
    """Make a platform key, shown once. It may manage tenants and read nothing in them."""
    import asyncio

    from copilot_cli.output import note, print_fields, print_json
    from copilot_cli.places import Places
    from copilot_domain.tenants.bootstrap import create_platform_key

    key_id, secret = asyncio.run(create_platform_key(Places.here().owner_url(), name))
    fields = {"id": key_id, "name": name, "key": secret}
    if as_json:
        print_json(fields)
        return
    print_fields(fields)
    note("The key is shown only now: keep it.")


def list_platform(as_json: AsJson = False) -> None:
    """List platform keys, the newest first."""
    import asyncio

    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places
    from copilot_domain.tenants.bootstrap import list_platform_keys

    keys = asyncio.run(list_platform_keys(Places.here().owner_url()))
    if as_json:
        print_json(keys)
        return
    columns = ["name", "prefix", "made", "last used", "expires", "revoked", "id"]
    rows = [
        (key.name, key.prefix, key.created_at, key.last_used_at, key.expires_at, key.revoked_at, key.id) for key in keys
    ]
    print_table(columns, rows, empty="No platform keys yet: copilot key create-platform NAME")


def revoke_platform(key_id: KeyId, as_json: AsJson = False) -> None:
    """End a platform key."""
    import asyncio

    from copilot_cli.places import Places
    from copilot_domain.tenants.bootstrap import revoke_platform_key

    asyncio.run(revoke_platform_key(Places.here().owner_url(), key_id))
    _say_revoked(key_id, as_json=as_json)


def _say_revoked(key_id: UUID, *, as_json: bool) -> None:
    from copilot_cli.output import print_json

    if as_json:
        print_json({"revoked": key_id})
    else:
        print(f"Revoked {key_id}.")
