"""The bench's own PostgreSQL and Redis: thrown away afterwards, but PostgreSQL is as durable as in production and has
as much memory for its pages."""

import secrets

from copilot_devstack import EmbeddedPostgres, TemporaryStores

_SHARED_BUFFERS = "1GB"  # a quarter of the 4 GB that the deployment guide gives it, as PostgreSQL's manual advises


def durable_stores() -> TemporaryStores:
    """Not started yet. A commit waits for the disk (fsync, synchronous_commit, full_page_writes), unlike in tests."""
    stores = TemporaryStores()
    password = secrets.token_urlsafe(16)
    stores.postgres = EmbeddedPostgres(
        stores.home, password=lambda: password, durable=True, ends_with_parent=True, shared_buffers=_SHARED_BUFFERS
    )
    return stores
