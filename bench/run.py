"""One run: everything started, measured in order, and stopped again whatever happens."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic

from bench.contenders import Contenders, Record
from bench.machine import look_around, store_settings
from bench.measures import CHAT, QUEUE, RETRIEVAL
from bench.memory import after_row, idle_row
from bench.peers.arq_runner import is_installed
from bench.peers.litellm import running_litellm
from bench.plan import INSTANT, Plan
from bench.product import Product, running_product
from bench.progress import say
from bench.queueing.rounds import Rounds
from bench.report import Report
from bench.rows import Row
from bench.simulated import SimulatedProvider
from bench.writeback import early_writeback

_OPEN_FILES = 8_192  # each stream takes two connections; many systems allow 1 024 files unless asked


def run(plan: Plan, *, names: Sequence[str], pool: int) -> Report:
    """Raises LoadFailed, StackError or RuntimeError where something could not be measured at all."""
    machine, started_at, began = look_around(), datetime.now(UTC), monotonic()
    _allow_open_files()
    say("starting PostgreSQL, Redis and the API")
    with (
        early_writeback() as kernel,
        SimulatedProvider() as simulator,
        running_product(simulator, pool=pool) as product,
    ):
        rounds = Rounds(plan, product, is_installed())
        settings = {**store_settings(product), **kernel, "DATABASE_POOL_MAX": str(pool), "RATE_LIMIT_REQUESTS": "1e9"}
        rows, records = _chat(plan, simulator, product, [name for name in CHAT if name in names])
        for name, measure in (QUEUE | RETRIEVAL).items():
            if name in names:
                rows += measure(rounds)
    return Report(
        started_at=started_at,
        seconds=round(monotonic() - began, 1),
        machine=machine,
        settings=settings,
        plan=plan,
        rows=rows,
        records=records,
        queue_records=rounds.records,
    )


def _chat(
    plan: Plan, simulator: SimulatedProvider, product: Product, names: Sequence[str]
) -> tuple[list[Row], list[Record]]:
    """What concerns the API, with its memory before and after. The peer ends with it: it is not idle when idle."""
    if not names:
        return [], []
    rows = [idle_row(product)]
    with _cast(plan, simulator, product) as cast:
        for name in names:
            rows += CHAT[name](cast)
        rows.append(after_row(product, peer_mib=cast.peer.rss_mib() if cast.peer else None))
    return rows, cast.records


@contextmanager
def _cast(plan: Plan, simulator: SimulatedProvider, product: Product) -> Iterator[Contenders]:
    say("starting the peer")
    folder = product.stores.home.path / "litellm"  # goes with the stores, also after a kill -9
    with running_litellm(simulator.openai_url, (INSTANT, plan.first_token_script), folder=folder) as peer:
        yield Contenders(plan, simulator, product, peer)


def _allow_open_files() -> None:
    """For this process and so for all it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
