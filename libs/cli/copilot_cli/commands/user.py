"""`copilot user …`, against the database."""

from typing import Annotated, Literal

import typer

from copilot_cli.options import OPERATOR_PANEL, AsJson, GeneratePassword, Limit

Role = Literal["owner", "admin", "member", "viewer"]
UserName = Annotated[str, typer.Argument(metavar="USER", help="E-mail or username.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Make accounts and memberships, set passwords, lock people out.")
    for command in (create, set_password, deactivate, activate):
        group.command()(command)
    group.command("list")(list_)
    app.add_typer(group, name="user", rich_help_panel=OPERATOR_PANEL)


def create(
    email: Annotated[str, typer.Argument(help="Their e-mail.")],
    tenant: Annotated[str, typer.Option(help="Slug or id of the tenant they become a member of.")],
    role: Annotated[Role, typer.Option(help="What they may do there.")] = "member",
    username: Annotated[str | None, typer.Option(help="For a new account; from the e-mail if left out.")] = None,
    generate_password: GeneratePassword = False,
    as_json: AsJson = False,
) -> None:
    """Make an account, or take the one there is, and make it a member of a tenant."""
    import asyncio

    from copilot_cli.operators import users
    from copilot_cli.output import print_fields, print_json
    from copilot_cli.passwords import choose_password
    from copilot_cli.places import Places

    url = Places.here().owner_url()
    has_account = asyncio.run(users.exists(url, email))
    chosen = None if has_account else choose_password(generate=generate_password, whose=email)
    user = asyncio.run(
        users.add(
            url,
            email=email,
            username=username or email.partition("@")[0],
            password=chosen.text if chosen else None,
            tenant=tenant,
            role=role,
        )
    )
    fields: dict[str, object] = {"id": user.id, "email": user.email, "username": user.username, "tenant": tenant}
    fields |= {"role": role, "account": "was there" if has_account else "new"}
    fields |= {"password": chosen.text} if chosen and chosen.is_generated else {}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's members.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List accounts, one line per membership, the oldest account first."""
    import asyncio

    from copilot_cli.operators import users
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    found = asyncio.run(users.list_all(Places.here().owner_url(), tenant=tenant, limit=limit))
    if as_json:
        print_json(found)
        return
    rows = [
        (user.email, user.username, user.tenant, user.role, user.is_active, user.last_login_at, user.id)
        for user in found
    ]
    columns = ["email", "username", "tenant", "role", "active", "last log-in", "id"]
    print_table(columns, rows, empty="No users yet: copilot bootstrap")


def set_password(user: UserName, generate_password: GeneratePassword = False, as_json: AsJson = False) -> None:
    """Set a new password and end every session. It comes from COPILOT_PASSWORD, else it is asked for."""
    import asyncio

    from copilot_cli.operators import users
    from copilot_cli.output import print_json
    from copilot_cli.passwords import choose_password
    from copilot_cli.places import Places

    chosen = choose_password(generate=generate_password, whose=user)
    changed = asyncio.run(users.set_password(Places.here().owner_url(), user, chosen.text))
    if as_json:
        print_json({"id": changed.id} | ({"password": chosen.text} if chosen.is_generated else {}))
        return
    print(f"{changed.email} has a new password; every session has ended.")
    if chosen.is_generated:
        print(f"password  {chosen.text}")


def deactivate(user: UserName, as_json: AsJson = False) -> None:
    """Refuse a user's log-in, sessions and keys, in every tenant. What they wrote stays."""
    _set_active(user, is_active=False, as_json=as_json)


def activate(user: UserName, as_json: AsJson = False) -> None:
    """Let a deactivated user in again."""
    _set_active(user, is_active=True, as_json=as_json)


def _set_active(user: str, *, is_active: bool, as_json: bool) -> None:
    import asyncio

    from copilot_cli.operators import users
    from copilot_cli.output import print_json
    from copilot_cli.places import Places

    changed = asyncio.run(users.set_active(Places.here().owner_url(), user, is_active=is_active))
    if as_json:
        print_json(changed)
    else:
        print(f"{changed.email} is {'active' if is_active else 'deactivated'}.")
