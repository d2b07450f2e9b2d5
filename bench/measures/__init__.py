"""The measures, in the order they run. A new one is a module with `measure` and a line here."""

from collections.abc import Callable

from bench.contenders import Contenders
from bench.measures import first_token, plain, single, streams
from bench.rows import Row

MEASURES: dict[str, Callable[[Contenders], list[Row]]] = {
    "plain": plain.measure,
    "single": single.measure,
    "first-token": first_token.measure,
    "streams": streams.measure,
}
