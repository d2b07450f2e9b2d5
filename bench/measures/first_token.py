"""How long after its request a client holds the first token, beyond the upstream's own first token."""

from bench.contenders import Contenders, closed
from bench.measures.added import added_p50, added_row
from bench.rows import Row
from bench.upstream import direct

_LIMIT_MS = 5.0


def measure(cast: Contenders) -> list[Row]:
    plan, script = cast.plan, cast.plan.first_token_script
    targets = {"upstream": direct(cast.simulator, script, stream=True), "product": cast.product.streamed(script)}
    if cast.peer:
        targets["LiteLLM"] = cast.peer.streamed(script)
    jobs = {
        name: closed(target, clients=1, seconds=plan.single_seconds, plan=plan, tokens=plan.first_token_tokens)
        for name, target in targets.items()
    }
    outcomes = cast.play("first token", jobs, rounds=plan.rounds)
    added = added_p50(outcomes, lambda outcome: outcome.first_token_ms.p50)
    notes = [f"one client, {plan.first_token_tokens} tokens, the first at once, the others 2 ms apart"]
    return [added_row("time to first token added p50", _LIMIT_MS, added, outcomes, notes)]
