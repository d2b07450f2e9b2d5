"""What retrieval has shown, and the lines of the result that say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.load.job import Outcome
from bench.percentiles import Summary
from bench.retrieval.chat import PER_SECOND
from bench.retrieval.tenants import sizes
from bench.retrieval.texts import CHUNKS
from bench.rows import Row, Verdict, at_least, at_most, failure_notes, ratio

_RATE_LIMIT = 800.0
_MEMORY_LIMIT_MIB = 400.0
_RECALL_LIMIT = 0.98
_SQL_LIMIT_MS = 8.0
_API_LIMIT_MS = 25.0
_CHAT_LIMIT = 2.0
_KEPT_LIMIT = 0.6
BEST = 10
CLIENTS = 8
LOOKED_AT = 20  # answers of a window
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Filled:
    """`kept` is the ingestion's rate during chat as a share of that just before; None where it ended meanwhile.
    `cpu_ms` is what each process used altogether."""

    chunks: int
    per_second: float
    enqueue_seconds: float
    seconds: float
    kept: float | None
    rates: tuple[float, float]
    chat: Summary
    cpu_ms: Mapping[str, float]


@dataclass(frozen=True)
class Asked:
    """`fewest` rows of some answers that were looked at, after the window."""

    outcome: Outcome
    cpu_ms: Mapping[str, float]
    fewest: int


@dataclass(frozen=True)
class Found:
    """`fewest` rows of any ranking, by mode, and of what is shown; `recall` of vector searches, times in ms of hybrid
    ones."""

    chunks: int
    recall: float
    fewest: dict[str, int]
    sql_ms: Summary
    statements: float
    whole_ms: Summary


def ingestion_row(filled: Filled, disk: Mapping[str, int]) -> Row:
    total = sum(disk.values())
    largest = ", ".join(f"{name} {size / _MIB:.0f}" for name, size in list(disk.items())[:5])
    return Row(
        name="ingestion of plain text",
        target=f"≥ {_RATE_LIMIT:g} chunks/s",
        measured=f"{filled.per_second:.0f} chunks/s",
        verdict=at_least(filled.per_second, _RATE_LIMIT),
        notes=[
            f"{filled.chunks} chunks of {len(sizes(filled.chunks))} tenants, documents of some {CHUNKS}; from the "
            f"first to the last that is found {filled.seconds:.0f} s, less those of the chat; made and enqueued before "
            f"in {filled.enqueue_seconds:.0f} s",
            f"CPU ms a chunk, children and chat included: {_cpu_each(filled.cpu_ms, filled.chunks)}",
            f"on disk {total / _MIB:.0f} MiB, {total / max(filled.chunks, 1) / 1024:.1f} KiB a chunk: {largest}",
        ],
    )


def memory_rows(alone_mib: float, with_children_mib: float, together_mib: float) -> list[Row]:
    values = {
        "context service, RSS at most": alone_mib,
        "the same with its children": with_children_mib,
        "the same, what they share by parts (PSS)": together_mib,
    }
    return [
        Row(
            name=name,
            target=f"≤ {_MEMORY_LIMIT_MIB:g} MiB",
            measured=f"{mib:.0f} MiB",
            verdict=at_most(mib, _MEMORY_LIMIT_MIB),
            notes=[
                "the highest that the kernel has seen (VmHWM); with its children looked at every 5 s, from the first on"
            ]
            if mib == alone_mib
            else [],
        )
        for name, mib in values.items()
    ]


def search_rows(name: str, found: Found, questions: int) -> list[Row]:
    what, fewest = f"{name} tenant ({found.chunks} chunks)", min(found.fewest.values())
    is_whole = fewest >= min(BEST, found.chunks)
    verdict: Verdict = at_least(found.recall, _RECALL_LIMIT) if is_whole else "MISSED"
    sql = found.sql_ms
    return [
        Row(
            name=f"recall@{BEST}, {what}",
            target=f"≥ {_RECALL_LIMIT:g}, {BEST} rows",
            measured=f"{found.recall:.3f}, {fewest} rows",
            verdict=verdict,
            notes=[
                f"{questions} questions, vector searches' rankings before passages are assembled against all vectors "
                f"compared; fewest rows of rankings and of what is shown (10 were asked for): "
                f"{', '.join(f'{what} {count}' for what, count in found.fewest.items())}"
            ],
        ),
        Row(
            name=f"search in SQL, p95, {what}",
            target=f"≤ {_SQL_LIMIT_MS:g} ms",
            measured=f"{found.sql_ms.p95:.2f} ms",
            verdict=at_most(found.sql_ms.p95, _SQL_LIMIT_MS),
            notes=[
                f"sum of {found.statements:.1f} statements, each from its sending to its last row, BEGIN and COMMIT "
                f"included; {sql.count} hybrid searches one by one: p50 {sql.p50:.2f}, p99 {sql.p99:.2f} ms; the whole "
                f"search in that process p95 {found.whole_ms.p95:.2f} ms"
            ],
        ),
    ]


def name_callers(keys: int) -> str:
    return f"{CLIENTS} clients with one key" if keys == 1 else f"{CLIENTS} clients of {keys} users"


def api_row(what: str, asked: Sequence[Asked]) -> Row:
    """The median of the rounds. MISSED, however fast, where a request failed or an answer had too few rows."""
    several = sorted((one.outcome for one in asked), key=lambda outcome: outcome.latency_ms.p95)
    outcome = several[len(several) // 2]
    latency, p95s = outcome.latency_ms, ", ".join(f"{one.outcome.latency_ms.p95:.1f}" for one in asked)
    cpu_ms = {process: sum(one.cpu_ms[process] for one in asked) for process in asked[0].cpu_ms}
    fewest = min(one.fewest for one in asked)
    is_whole = fewest >= BEST and not any(one.failures for one in several)
    return Row(
        name=f"search over HTTP, {what}",
        target=f"≤ {_API_LIMIT_MS:g} ms",
        measured=f"{latency.p95:.1f} ms",
        verdict=at_most(latency.p95, _API_LIMIT_MS) if is_whole else "MISSED",
        notes=[
            f"closed loop, tenants by turns: p95 {p95s} ms; of the median {outcome.per_second:.0f} searches/s, p50 "
            f"{latency.p50:.1f}, p99 {latency.p99:.1f} ms; the generator used {outcome.cpu_share:.0%} of a core",
            f"CPU ms a search: {_cpu_each(cpu_ms, sum(one.requests for one in several))}; fewest rows of "
            f"{len(asked) * LOOKED_AT} answers: {fewest}",
            *failure_notes({what: several}),
        ],
    )


def chat_rows(quiet: Summary, busy: Summary, kept: float | None, rates: tuple[float, float]) -> list[Row]:
    """`kept` None: the ingestion ended before the chat did."""
    times = ratio(busy.p99, quiet.p99) or 0.0
    alone, beside = rates
    return [
        Row(
            name="chat p99 beside saturating ingestion",
            target=f"≤ {_CHAT_LIMIT:g} ×",
            measured=f"{times:.2f} ×",
            verdict="not measured" if kept is None else at_most(times, _CHAT_LIMIT),
            notes=[
                f"{busy.count} plain messages at {PER_SECOND} a second beside it, {quiet.count} without, half at "
                f"the end: p50 {quiet.p50:.1f} → {busy.p50:.1f}, p99 {quiet.p99:.1f} → {busy.p99:.1f} ms"
            ],
        ),
        Row(
            name="ingestion beside chat",
            target=f"≥ {_KEPT_LIMIT:.0%} of its rate",
            measured="it ended before" if kept is None else f"{kept:.0%}",
            verdict="not measured" if kept is None else at_least(kept, _KEPT_LIMIT),
            notes=[f"{alone:.0f} chunks/s just before, {beside:.0f} beside the chat"],
        ),
    ]


def _cpu_each(cpu_ms: Mapping[str, float], count: int) -> str:
    """Unlike a rate it hardly depends on what else the machine does."""
    return ", ".join(f"{name} {ms / max(count, 1):.2f}" for name, ms in cpu_ms.items())
