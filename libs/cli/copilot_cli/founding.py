"""A new tenant with its owner: what `bootstrap` and `tenant create` have in common."""

import asyncio

import msgspec

from copilot_cli.operators import users
from copilot_cli.output import note, print_fields, print_json, working
from copilot_cli.passwords import ChosenPassword, choose_password
from copilot_cli.places import Places, encryption_key
from copilot_domain.tenants.bootstrap import bootstrap


class Founded(msgspec.Struct, kw_only=True):
    """`api_key` is None where the tenant was there already; `password` is set only where we have made it up."""

    tenant_id: str
    tenant: str
    owner: str
    created: bool
    api_key: str | None
    password: str | None


def found(*, slug: str, name: str | None, email: str, username: str, generate_password: bool) -> Founded:
    """Asks for the owner's password unless the account exists. Raises what `bootstrap` raises."""
    places = Places.here()
    owner_url, key = places.owner_url(), encryption_key(places)
    has_account = asyncio.run(users.exists(owner_url, email))
    password = ChosenPassword("") if has_account else choose_password(generate=generate_password, whose=email)
    with working("Making the tenant"):
        made = asyncio.run(
            bootstrap(
                owner_url,
                encryption_key=key,
                tenant_slug=slug,
                tenant_name=name or slug,
                admin_email=email,
                admin_username=username,
                admin_password=password.text,
            )
        )
    return Founded(
        tenant_id=str(made.tenant_id),
        tenant=slug,
        owner=email,
        created=made.api_key is not None,
        api_key=made.api_key,
        password=password.text if password.is_generated and made.api_key else None,
    )


def show(founded: Founded, *, as_json: bool) -> None:
    if as_json:
        print_json(founded)
        return
    if not founded.created:
        print(f"Tenant {founded.tenant} is there already; nothing was changed.")
        return
    fields = {"tenant": f"{founded.tenant} ({founded.tenant_id})", "owner": founded.owner, "API key": founded.api_key}
    print_fields(fields | ({"password": founded.password} if founded.password else {}))
    note("The key is shown only now: keep it. Everything it may do: copilot ask, chat, key, usage.")
