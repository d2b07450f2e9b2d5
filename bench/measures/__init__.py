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
    quality,
    retrieval,
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
RETRIEVAL: dict[str, Callable[[Rounds], list[Row]]] = {
    "retrieval": retrieval.measure,
    "quality": quality.measure,
}
"""They fill the database with much that others would find there, and take long: only when they are asked for."""

MEASURES = [*CHAT, *QUEUE, *RETRIEVAL]
