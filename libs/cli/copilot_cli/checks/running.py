"""All of the doctor's checks, in the order in which one stands on the other."""

from collections.abc import AsyncIterator

from copilot_cli.checks.database import check_database, check_owner
from copilot_cli.checks.providers import check_providers
from copilot_cli.checks.redis import check_redis
from copilot_cli.checks.report import Check, warn
from copilot_cli.checks.sandbox import check_sandbox
from copilot_cli.checks.settings import Examined, examine_settings
from copilot_cli.places import Places


async def run_checks(places: Places) -> list[Check]:
    environ = places.settings()
    origin = "the development stack" if places.uses_development_stack else "the environment"
    examined = examine_settings(environ, origin=origin)
    of_settings = [check async for check in _of_settings(examined, environ.get("MIGRATION_DATABASE_URL"))]
    return [*examined.checks, *of_settings, await check_sandbox()]


async def _of_settings(examined: Examined, owner_url: str | None) -> AsyncIterator[Check]:
    settings, faulty = examined.settings, examined.faulty
    if settings is None:
        return
    if "DATABASE_URL" not in faulty:
        async for check in check_database(settings.database_url, settings.database_pool_mode):
            yield check
    if owner_url:
        key = None if "ENCRYPTION_KEY" in faulty else settings.encryption_key_bytes
        async for check in check_owner(owner_url, key):
            yield check
    else:
        advice = "Set MIGRATION_DATABASE_URL where you run migrate, bootstrap, tenant and user; services need none."
        yield warn("migrations", "not looked at", advice)
    if "REDIS_URL" not in faulty:
        for check in await check_redis(settings.redis_url):
            yield check
    for check in check_providers(settings):
        yield check
