"""Where a result comes from: without it numbers cannot be compared."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec
import psycopg

from bench.product import Product

_PACKAGES = ("litestar", "granian", "psycopg", "redis", "msgspec", "uvloop", "aiohttp", "openai")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """`load_average` is of the minute before the run: above 0.5 others were using the machine."""

    cores: int
    processor: str
    system: str
    python: str
    load_average: float
    packages: dict[str, str]


def look_around() -> Machine:
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        processor=_processor(),
        system=f"{platform.system()} {platform.release()}",
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        packages={name: version(name) for name in _PACKAGES},
    )


def store_settings(product: Product) -> dict[str, str]:
    """PostgreSQL's version and durability as the server itself tells them, and Redis's version."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_init_zero")
    with psycopg.connect(product.stores.postgres.admin_url) as connection:
        query = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
        found = {str(name): str(setting) for name, setting in connection.execute(query, [list(names)])}
    return {**found, "redis": product.stores.redis.version}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
