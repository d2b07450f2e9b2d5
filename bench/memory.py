"""Resident memory of the API process."""

import time

from bench.product import Product
from bench.rows import Row, at_most

_IDLE_LIMIT_MIB = 150.0
_AFTER_LIMIT_MIB = 200.0
_SETTLE_SECONDS = 3.0  # after the start, or after the last answer: background loops have turned at least once


def idle_row(product: Product) -> Row:
    return _row("API memory, idle after start", product, _IDLE_LIMIT_MIB)


def after_row(product: Product, *, peer_mib: float | None) -> Row:
    row = _row("API memory, after all of the above", product, _AFTER_LIMIT_MIB)
    row.peer = f"LiteLLM {peer_mib:.0f} MiB" if peer_mib else ""
    return row


def _row(name: str, product: Product, limit_mib: float) -> Row:
    time.sleep(_SETTLE_SECONDS)
    rss = product.rss_mib()
    return Row(name=name, target=f"≤ {limit_mib:g} MiB", measured=f"{rss:.0f} MiB", verdict=at_most(rss, limit_mib))
