"""`copilot tenant …`, against the database."""

from typing import TYPE_CHECKING, Annotated

import typer

from copilot_cli.options import OPERATOR_PANEL, AsJson, GeneratePassword, Limit, Yes

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from copilot_domain.tenants import Tenant

TenantName = Annotated[str, typer.Argument(metavar="TENANT", help="Slug or id.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Make, list, suspend and delete tenants.")
    for command in (create, show, suspend, activate, delete):
        group.command()(command)
    group.command("list")(list_)
    app.add_typer(group, name="tenant", rich_help_panel=OPERATOR_PANEL)


def create(
    slug: Annotated[str, typer.Argument(help="a-z, 0-9 and hyphens.")],
    owner: Annotated[str, typer.Option(help="The owner's e-mail; an account is made where there is none.")],
    username: Annotated[str | None, typer.Option(help="A new owner's username; from the e-mail if left out.")] = None,
    name: Annotated[str | None, typer.Option(help="The tenant's name; its slug if left out.")] = None,
    generate_password: GeneratePassword = False,
    as_json: AsJson = False,
) -> None:
    """Make a tenant with its data key, its owner and a first API key, shown once."""
    from copilot_cli.founding import found, show
    from copilot_common.base.errors import Conflict

    founded = found(
        slug=slug,
        name=name,
        email=owner,
        username=username or owner.partition("@")[0],
        generate_password=generate_password,
    )
    if not founded.created:
        raise Conflict(f"The slug {slug} is taken.")
    show(founded, as_json=as_json)


def list_(limit: Limit = 100, as_json: AsJson = False) -> None:
    """List tenants, the newest first."""
    import asyncio

    from copilot_cli.operators import tenants
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    found = asyncio.run(tenants.list_all(Places.here().owner_url(), limit))
    if as_json:
        print_json(found)
    else:
        rows = [(tenant.slug, tenant.name, tenant.status, tenant.id, tenant.created_at) for tenant in found]
        print_table(["slug", "name", "status", "id", "made"], rows, empty="No tenant yet: copilot bootstrap")


def show(tenant: TenantName, as_json: AsJson = False) -> None:
    """Show one tenant and what it holds."""
    import asyncio

    import msgspec

    from copilot_cli.operators import tenants
    from copilot_cli.output import print_fields, print_json
    from copilot_cli.places import Places

    found, figures = asyncio.run(tenants.show(Places.here().owner_url(), tenant))
    fields = msgspec.structs.asdict(found) | vars(figures)
    if as_json:
        print_json(fields)
    else:
        print_fields({name.replace("_", " "): value for name, value in fields.items()})


def suspend(tenant: TenantName, as_json: AsJson = False) -> None:
    """Refuse all of its credentials from the next request on. Its data stays."""
    from copilot_cli.operators import tenants
    from copilot_cli.places import Places

    _changed(tenants.set_status(Places.here().owner_url(), tenant, "suspended"), as_json=as_json)


def activate(tenant: TenantName, as_json: AsJson = False) -> None:
    """Let a suspended tenant's credentials work again."""
    from copilot_cli.operators import tenants
    from copilot_cli.places import Places

    _changed(tenants.set_status(Places.here().owner_url(), tenant, "active"), as_json=as_json)


def delete(tenant: TenantName, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a tenant with its conversations, members and keys. Its audit log stays."""
    import asyncio

    from copilot_cli.operators import tenants
    from copilot_cli.output import note, print_json, working
    from copilot_cli.places import Places

    url = Places.here().owner_url()
    found, figures = asyncio.run(tenants.show(url, tenant))
    if not yes:
        note(
            f"Tenant {found.slug}: members {figures.members}, API keys {figures.api_keys}, conversations"
            f" {figures.conversations}. All of it goes, for good; only its audit log stays."
        )
        typer.confirm(f"Delete {found.slug}?", abort=True, err=True)
    with working("Deleting"):
        asyncio.run(tenants.delete(url, found.id))
    if as_json:
        print_json({"deleted": str(found.id)})
    else:
        print(f"Deleted tenant {found.slug}.")


def _changed(change: "Coroutine[None, None, Tenant]", *, as_json: bool) -> None:
    import asyncio

    from copilot_cli.output import print_json

    tenant = asyncio.run(change)
    if as_json:
        print_json(tenant)
    else:
        print(f"Tenant {tenant.slug} is {tenant.status}.")
