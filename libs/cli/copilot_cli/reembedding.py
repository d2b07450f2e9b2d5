"""Waiting until searches use another embedding model."""

import time
from collections.abc import Callable

from copilot_cli.client import ApiClient, Index

_POLL_SECONDS = 0.5


def wait_until_switched(client: ApiClient, begun: Index, *, progress: Callable[[int, int], None]) -> Index:
    """As it is when nothing is under way any more, or nobody is at it."""
    current = begun
    while current.next_model is not None and current.error is None:
        progress(current.done, current.total)
        time.sleep(_POLL_SECONDS)
        current = client.context.index()
    return current
