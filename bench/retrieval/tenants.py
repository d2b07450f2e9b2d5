"""Tenants of all sizes in one database: a small one, a middle one, a large one, and thirty others."""

import asyncio
import secrets
from dataclasses import dataclass
from uuid import uuid4

from bench.product import Product, owner
from bench.queueing.producer import as_superuser
from copilot_common.auth.api_keys import new_key
from copilot_common.tenancy import Principal
from copilot_domain.tenants.bootstrap import bootstrap

_SMALL = 100
_MIDDLE_SHARE = 0.03
_LARGE_SHARE = 0.5
_OTHERS = 30


@dataclass(frozen=True)
class Tenant:
    """`chunks` are those it shall have, about."""

    slug: str
    chunks: int
    principal: Principal
    api_key: str


def sizes(chunks: int) -> dict[str, int]:
    """Chunks by tenant: 100, 3 000, 50 000 and the rest of 100 000; of other totals the same shares."""
    measured = {"small": _SMALL, "middle": int(chunks * _MIDDLE_SHARE), "large": int(chunks * _LARGE_SHARE)}
    rest = (chunks - sum(measured.values())) // _OTHERS
    return measured | {f"other-{number}": rest for number in range(1, _OTHERS + 1)}


def make_tenants(product: Product, wanted: dict[str, int]) -> dict[str, Tenant]:
    return {slug: asyncio.run(_make(product, slug, chunks)) for slug, chunks in wanted.items()}


def add_members(product: Product, tenant: Tenant, count: int) -> list[str]:
    """API keys of so many new users of it."""
    made = []
    for _ in range(count):
        user_id, key = uuid4(), new_key("live")
        as_superuser(
            product,
            """
            WITH one AS (INSERT INTO users (id, email, username, password_hash) VALUES (%s, %s, %s, '') RETURNING id),
            member AS (INSERT INTO memberships (tenant_id, user_id, role) SELECT %s, id, 'member' FROM one
                RETURNING tenant_id, user_id)
            INSERT INTO api_keys (tenant_id, id, user_id, name, prefix, key_hash, scopes)
            SELECT tenant_id, %s, user_id, 'bench', %s, %s, '{read}' FROM member
            """,
            *(user_id, f"{user_id}@example.com", str(user_id), tenant.principal.tenant_id),
            *(uuid4(), key.prefix, key.hash),
        )
        made.append(key.secret)
    return made


async def _make(product: Product, slug: str, chunks: int) -> Tenant:
    made = await bootstrap(
        product.stores.postgres.admin_url,
        encryption_key=bytes.fromhex(product.connections["ENCRYPTION_KEY"]),
        tenant_slug=slug,
        tenant_name=slug,
        admin_email="bench@example.com",  # the owner of them all
        admin_username="bench",
        admin_password=secrets.token_urlsafe(18),
    )
    if made.api_key is None:
        raise RuntimeError(f"the tenant {slug} is there already")
    return Tenant(slug, chunks, owner(made.tenant_id, made.user_id), made.api_key)
