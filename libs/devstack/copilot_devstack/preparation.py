"""What a fresh database needs before the API can start: the schema, and a first tenant."""

import asyncio
from dataclasses import dataclass

from copilot_common.platform import migrate
from copilot_devstack.errors import StackError
from copilot_devstack.state import Secrets
from copilot_domain.tenants.bootstrap import bootstrap

TENANT_SLUG = "dev"
TENANT_NAME = "Development"
ADMIN_EMAIL = "admin@example.com"
ADMIN_USERNAME = "admin"


@dataclass(frozen=True)
class Prepared:
    applied: list[int]
    api_key: str


def prepare(urls: migrate.DatabaseUrls, secrets: Secrets) -> Prepared:
    """Apply pending migrations, make the first tenant where there is none. `secrets.api_key` is kept."""
    applied = asyncio.run(migrate.up(urls))
    made = asyncio.run(
        bootstrap(
            urls.migration,
            encryption_key=bytes.fromhex(secrets.encryption_key),
            tenant_slug=TENANT_SLUG,
            tenant_name=TENANT_NAME,
            admin_email=ADMIN_EMAIL,
            admin_username=ADMIN_USERNAME,
            admin_password=secrets.admin_password,
        )
    )
    api_key = made.api_key or secrets.api_key
    if api_key is None:
        # The one run that made it was killed before it was written down.
        raise StackError("The first API key was lost. To start afresh: copilot reset")
    return Prepared(applied, api_key)
