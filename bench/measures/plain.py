"""Requests per second of plain answers, many clients at once."""

from statistics import median

from bench.contenders import Contenders, closed
from bench.plan import INSTANT
from bench.rows import Row, at_least, failure_notes, ratio, spread
from bench.words import TURNS

_TIMES_PEER = 5.0
_STOCK = 30  # conversations a client: 300 requests, more than a round lasts


def measure(cast: Contenders) -> list[Row]:
    plan = cast.plan
    targets = {"product": cast.product.plain()}
    if cast.peer:
        targets["LiteLLM"] = cast.peer.plain(INSTANT)
    jobs = {
        name: closed(target, clients=plan.clients, seconds=plan.plain_seconds, plan=plan, stock=_STOCK)
        for name, target in targets.items()
    }
    outcomes = cast.play("plain", jobs, rounds=plan.rounds)
    rates = {name: [outcome.per_second for outcome in several] for name, several in outcomes.items()}
    ours = median(rates["product"])
    theirs = median(rates["LiteLLM"]) if "LiteLLM" in rates else None
    times = ratio(ours, theirs) if theirs else None
    return [
        Row(
            name=f"plain answers, {plan.clients} clients",
            target=f"≥ {_TIMES_PEER:g} × LiteLLM",
            measured=f"{ours:.0f} req/s",
            peer=f"LiteLLM {theirs:.1f} req/s" if theirs else "not measured",
            ratio=times,
            verdict=at_least(times, _TIMES_PEER) if times else "not measured",
            notes=[
                f"each client fills conversations of {TURNS} turns ({2 * TURNS} messages), made before; the history "
                "goes to the model each time. LiteLLM keeps none: its client sends the same history.",
                *(f"{name} by round: {spread(values)} req/s" for name, values in rates.items()),
                *(cast.cpu_note("plain", name) for name in jobs),
                *failure_notes(outcomes),
            ],
        )
    ]
