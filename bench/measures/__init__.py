"""The measures, in the order they run. A new one is a module with `measure` and a line here."""

from collections.abc import Callable

from bench.contenders import Contenders
from bench.measures import (
    depth,
    dispatch,
    enqueue,
    first_token,
    idle,
    plain,
    search,
    single,
    steps,
    streams,
    throughput,
)
from bench.queueing.rounds import Rounds
from bench.rows import Row

CHAT: dict[str, Callable[[Contenders], list[Row]]] = {
    "plain": plain.measure,
    "single": single.measure,
    "first-token": first_token.measure,
    "streams": streams.measure,
}
QUEUE: dict[str, Callable[[Rounds], list[Row]]] = {
    "dispatch": dispatch.measure,
    "throughput": throughput.measure,
    "enqueue": enqueue.measure,
    "search": search.measure,
    "steps": steps.measure,
    "idle": idle.measure,
    "depth": depth.measure,
}
MEASURES = [*CHAT, *QUEUE]
