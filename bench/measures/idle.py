"""What worker processes with nothing to do take: processor, queries, memory."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.cpu import CpuMeter
from bench.product import Product
from bench.progress import say
from bench.queueing.processes import pid_of, running
from bench.queueing.producer import as_superuser
from bench.queueing.rounds import Rounds
from bench.rows import Row, at_most
from copilot_devstack.worker_server import ContextServiceServer, WorkerServer, WorkflowEngineServer

_CPU_LIMIT_PERCENT = 1.0
_QUERIES_LIMIT_PER_SECOND = 2.0
_MEMORY_LIMITS_MIB = {"workflow-engine": 150.0, "context-service": 250.0}
_SETTLE_SECONDS = 4.0  # after the start: all loops have turned, connections are open
_MIB = 1024 * 1024
_STATEMENT = re.compile(r"^bench asked by (.*?): LOG:  (?:statement|execute )", re.MULTILINE)


def measure(rounds: Rounds) -> list[Row]:
    seconds, product = rounds.plan.idle_seconds, rounds.product
    say(f"idle: both workers, {seconds:g} s")
    with (
        _logged_statements(product),
        running(WorkflowEngineServer, product) as engine,
        running(ContextServiceServer, product) as context,
    ):
        servers: dict[str, WorkerServer] = {"workflow-engine": engine, "context-service": context}
        time.sleep(_SETTLE_SECONDS)
        meter = CpuMeter({name: pid_of(server) for name, server in servers.items()})
        log = _Log(product.stores.postgres.log_path)
        time.sleep(seconds)
        cpu_ms, statements = meter.ms_since_start(), log.statements()
        rss = {name: psutil.Process(pid_of(server)).memory_info().rss / _MIB for name, server in servers.items()}
    return [
        row
        for name in servers
        for row in rows(name, cpu_ms[name] / seconds / 10, per_service(statements, name), seconds, rss[name])
    ]


def rows(name: str, cpu_percent: float, statements: Counter[str], seconds: float, rss_mib: float) -> Iterator[Row]:
    rate = statements.total() / seconds
    by_connection = ", ".join(f"{who} {number / seconds:.2f}/s" for who, number in sorted(statements.items()))
    limit_mib = _MEMORY_LIMITS_MIB[name]
    yield Row(
        name=f"{name} idle, CPU",
        target=f"≤ {_CPU_LIMIT_PERCENT:g} %",
        measured=f"{cpu_percent:.2f} %",
        verdict=at_most(cpu_percent, _CPU_LIMIT_PERCENT),
        notes=[f"of one core, over {seconds:g} s"],
    )
    yield Row(
        name=f"{name} idle, queries",
        target=f"≤ {_QUERIES_LIMIT_PER_SECOND:g}/s",
        measured=f"{rate:.2f}/s",
        verdict=at_most(rate, _QUERIES_LIMIT_PER_SECOND),
        notes=[f"every statement in PostgreSQL's log, by application_name: {by_connection}"],
    )
    yield Row(
        name=f"{name} idle, memory",
        target=f"≤ {limit_mib:g} MiB",
        measured=f"{rss_mib:.0f} MiB",
        verdict=at_most(rss_mib, limit_mib),
    )


def count_statements(log: str) -> Counter[str]:
    """How many each application has sent."""
    return Counter(match.group(1) for match in _STATEMENT.finditer(log))


def per_service(statements: Counter[str], service: str) -> Counter[str]:
    """A process has connections of several names: the pool's, and its lease's."""
    return Counter({name: number for name, number in statements.items() if name.startswith(service)})


class _Log:
    """What PostgreSQL has logged from here on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin = path.stat().st_size

    def statements(self) -> Counter[str]:
        with self._path.open("rb") as file:
            file.seek(self._begin)
            return count_statements(file.read().decode(errors="replace"))


@contextmanager
def _logged_statements(product: Product) -> Iterator[None]:
    """Of sessions that the app's role opens meanwhile; without their parameters."""
    as_superuser(product, "ALTER SYSTEM SET log_parameter_max_length = 0")
    as_superuser(product, "ALTER SYSTEM SET log_line_prefix = 'bench asked by %a: '")
    as_superuser(product, "ALTER ROLE copilot_app SET log_statement = 'all'")
    as_superuser(product, "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        as_superuser(product, "ALTER ROLE copilot_app RESET log_statement")
        as_superuser(product, "ALTER SYSTEM RESET ALL")
        as_superuser(product, "SELECT pg_reload_conf()")
