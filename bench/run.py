"""One run: everything started, measured in order, and stopped again whatever happens."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic

from bench.contenders import Contenders
from bench.machine import Machine, look_around, store_settings
from bench.measures import MEASURES
from bench.memory import after_row, idle_row
from bench.peers.litellm import running_litellm
from bench.plan import INSTANT, Plan
from bench.product import Product, running_product
from bench.progress import say
from bench.report import Report
from bench.rows import Row
from bench.simulated import SimulatedProvider

_OPEN_FILES = 8_192  # each stream takes two connections; many systems allow 1 024 files unless asked


def run(plan: Plan, *, names: Sequence[str], pool: int) -> Report:
    """Raises LoadFailed, StackError or RuntimeError where something could not be measured at all."""
    machine, started_at, began = look_around(), datetime.now(UTC), monotonic()
    _allow_open_files()
    say("starting PostgreSQL, Redis and the API")
    with SimulatedProvider() as simulator, running_product(simulator, pool=pool) as product:
        rows = [idle_row(product)]
        settings = {**store_settings(product), "DATABASE_POOL_MAX": str(pool), "RATE_LIMIT_REQUESTS": "1e9"}
        with _cast(plan, simulator, product) as cast:
            for name in names:
                rows += MEASURES[name](cast)
            rows.append(after_row(product, peer_mib=cast.peer.rss_mib() if cast.peer else None))
    return _report(machine, started_at, monotonic() - began, settings, cast, rows)


@contextmanager
def _cast(plan: Plan, simulator: SimulatedProvider, product: Product) -> Iterator[Contenders]:
    say("starting the peer")
    folder = product.stores.home.path / "litellm"  # goes with the stores, also after a kill -9
    with running_litellm(simulator.openai_url, (INSTANT, plan.first_token_script), folder=folder) as peer:
        yield Contenders(plan, simulator, product, peer)


def _report(
    machine: Machine, started_at: datetime, seconds: float, settings: dict[str, str], cast: Contenders, rows: list[Row]
) -> Report:
    return Report(
        started_at=started_at,
        seconds=round(seconds, 1),
        machine=machine,
        settings=settings,
        plan=cast.plan,
        rows=rows,
        records=cast.records,
    )


def _allow_open_files() -> None:
    """For this process and so for all it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
