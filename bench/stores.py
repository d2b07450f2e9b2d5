"""The benchmark's own PostgreSQL and Redis: thrown away afterwards, but PostgreSQL as durable as in production."""

import secrets

from copilot_devstack import EmbeddedPostgres, TemporaryStores


def durable_stores() -> TemporaryStores:
    """Not started yet. A commit waits for the disk (fsync, synchronous_commit, full_page_writes), unlike in tests."""
    stores = TemporaryStores()
    password = secrets.token_urlsafe(16)
    stores.postgres = EmbeddedPostgres(stores.home, password=lambda: password, durable=True, ends_with_parent=True)
    return stores
