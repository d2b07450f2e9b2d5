"""Times beyond the upstream's own, taken round by round so that both saw the same machine."""

from collections.abc import Callable
from statistics import median

from bench.load.job import Outcome
from bench.rows import Row, at_most, failure_notes, ratio, spread


def added_p50(outcomes: dict[str, list[Outcome]], read: Callable[[Outcome], float]) -> dict[str, list[float]]:
    """Per contender and round: its value minus the upstream's of the same round."""
    upstream = [read(outcome) for outcome in outcomes["upstream"]]
    return {
        name: [read(outcome) - own for outcome, own in zip(several, upstream, strict=True)]
        for name, several in outcomes.items()
        if name != "upstream"
    }


def added_row(
    name: str, limit_ms: float, added: dict[str, list[float]], outcomes: dict[str, list[Outcome]], notes: list[str]
) -> Row:
    ours = median(added["product"])
    theirs = median(added["LiteLLM"]) if "LiteLLM" in added else None
    return Row(
        name=name,
        target=f"≤ {limit_ms:g} ms",
        measured=f"{ours:.2f} ms",
        peer=f"LiteLLM {theirs:.2f} ms" if theirs is not None else "not measured",
        ratio=ratio(theirs, ours) if theirs is not None else None,
        verdict=at_most(ours, limit_ms),
        notes=[
            *notes,
            *(f"{who} by round: {spread(values)} ms" for who, values in added.items()),
            *failure_notes(outcomes),
        ],
    )
