"""Tenants of all sizes in one database: a small one, a middle one, a large one, and thirty others."""

import asyncio
import secrets
from dataclasses import dataclass

from bench.product import Product, owner
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
