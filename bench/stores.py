"""The bench's own PostgreSQL and Redis: thrown away afterwards, but PostgreSQL is as durable as in production and has
its parameters."""

import secrets

from copilot_devstack import EmbeddedPostgres, TemporaryStores

# Of helm/copilot-data: a quarter of the 4 GB that the deployment guide gives it, as PostgreSQL's manual advises
_PARAMETERS = {"shared_buffers": "1GB", "effective_cache_size": "3GB", "wal_init_zero": "off"}


def durable_stores() -> TemporaryStores:
    """Not started yet. A commit waits for the disk (fsync, synchronous_commit, full_page_writes), unlike in tests."""
    stores = TemporaryStores()
    password = secrets.token_urlsafe(16)
    stores.postgres = EmbeddedPostgres(
        stores.home, password=lambda: password, durable=True, ends_with_parent=True, parameters=_PARAMETERS
    )
    return stores
