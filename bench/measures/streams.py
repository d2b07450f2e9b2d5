"""How evenly tokens arrive while one process serves many slow streams."""

from bench.contenders import Contenders
from bench.load.job import Job, Outcome, Target
from bench.rows import Row, at_most, failure_notes
from bench.upstream import direct

_LIMIT_MS = 50.0


def measure(cast: Contenders) -> list[Row]:
    plan, script = cast.plan, cast.plan.slow_script
    jobs = {
        "upstream": _job(cast, direct(cast.simulator, script, stream=True)),
        "product": _job(cast, cast.product.streamed(script)),
    }
    outcomes = cast.play("streams", jobs, rounds=1)
    product, upstream = outcomes["product"][0], outcomes["upstream"][0]
    steady, every = product.steady_gap_excess_ms, product.gap_excess_ms
    is_complete = product.completed == plan.streams
    return [
        Row(
            name=f"{plan.streams} slow streams open at once, gap above pace p99",
            target=f"≤ {_LIMIT_MS:g} ms",
            measured=f"{steady.p99:.1f} ms",
            verdict=at_most(steady.p99, _LIMIT_MS) if is_complete else "MISSED",
            notes=[
                f"{plan.stream_tokens} tokens, one every {plan.pace_ms} ms, streams started over "
                f"{plan.ramp_seconds:g} s; {product.completed} of {plan.streams} complete",
                f"product: {_gaps(product)}",
                f"upstream asked directly: {_gaps(upstream)}",
                f"first token p50 {product.first_token_ms.p50:.0f}, p99 {product.first_token_ms.p99:.0f} ms; "
                f"the load generator used {product.cpu_share:.0%} of a core",
                cast.cpu_note("streams", "product"),
                *failure_notes(outcomes),
            ],
        ),
        Row(
            name=f"the same with {plan.streams / plan.ramp_seconds:.0f} a second beginning and ending",
            target=f"≤ {_LIMIT_MS:g} ms",
            measured=f"{every.p99:.1f} ms",
            verdict=at_most(every.p99, _LIMIT_MS) if is_complete else "MISSED",
            notes=[f"all {every.count} gaps, from each stream's first token to its last"],
        ),
    ]


def _gaps(outcome: Outcome) -> str:
    every, steady = outcome.gap_excess_ms, outcome.steady_gap_excess_ms
    return (
        f"gap minus pace p50 {every.p50:.1f}, p99 {every.p99:.1f}, max {every.max:.1f} ms; while all streams were open "
        f"p99 {steady.p99:.1f} ms ({steady.count} gaps)"
    )


def _job(cast: Contenders, target: Target) -> Job:
    plan = cast.plan
    return Job(
        mode="once",
        target=target,
        clients=plan.streams,
        ramp_seconds=plan.ramp_seconds,
        tokens=plan.stream_tokens,
        pace_ms=plan.pace_ms,
    )
