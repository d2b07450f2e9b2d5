"""What one client waits for a plain answer beyond what the upstream itself takes."""

from bench.contenders import Contenders, closed
from bench.measures.added import added_p50, added_row
from bench.plan import INSTANT
from bench.rows import Row
from bench.upstream import direct

_LIMIT_MS = 8.0


def measure(cast: Contenders) -> list[Row]:
    plan = cast.plan
    targets = {"upstream": direct(cast.simulator, INSTANT, stream=False), "product": cast.product.plain()}
    if cast.peer:
        targets["LiteLLM"] = cast.peer.plain(INSTANT)
    jobs = {name: closed(target, clients=1, seconds=plan.single_seconds, plan=plan) for name, target in targets.items()}
    outcomes = cast.play("single", jobs, rounds=plan.rounds)
    added = added_p50(outcomes, lambda outcome: outcome.latency_ms.p50)
    return [added_row("added latency p50, 1 client", _LIMIT_MS, added, outcomes, [])]
