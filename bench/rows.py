"""A line of the result: what was promised, what was found."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from bench.load.job import Outcome

Verdict = Literal["ok", "MISSED", "not measured", "reported"]
"""`reported`: nothing was promised."""


class Row(msgspec.Struct, kw_only=True):
    """`ratio` is how many times better than the peer (more requests, or less time); None where there is none.
    `peer` names it."""

    name: str
    target: str
    measured: str
    peer: str = ""
    ratio: float | None = None
    verdict: Verdict
    notes: list[str] = []


def at_most(value: float, limit: float) -> Verdict:
    return "ok" if value <= limit else "MISSED"


def at_least(value: float, limit: float) -> Verdict:
    return "ok" if value >= limit else "MISSED"


def ratio(numerator: float, denominator: float) -> float | None:
    """None where it would say nothing: an added time of zero or less is below what can be measured."""
    return numerator / denominator if numerator > 0 and denominator > 0 else None


def failure_notes(outcomes: dict[str, list[Outcome]]) -> list[str]:
    """A speed with failed requests in it is not what it seems."""
    return [
        f"{name}: {sum(outcome.failures.values())} failed, e.g. {next(iter(outcome.failures))}"
        for name, several in outcomes.items()
        for outcome in several
        if outcome.failures
    ]


def spread(values: Iterable[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
