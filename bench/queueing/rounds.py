"""What a measure of the queue is given, and what it leaves for the JSON file."""

from dataclasses import dataclass, field

import msgspec

from bench.percentiles import Summary
from bench.plan import Plan
from bench.product import Product
from bench.progress import say


class QueueRecord(msgspec.Struct, kw_only=True):
    """One round of one contender: times, or a rate."""

    measure: str
    contender: str
    ms: Summary = msgspec.field(default_factory=Summary)
    per_second: float = 0.0


@dataclass(frozen=True)
class Rounds:
    """`has_arq`: the peer is installed."""

    plan: Plan
    product: Product
    has_arq: bool
    records: list[QueueRecord] = field(default_factory=list)

    def say(self, measure: str, contender: str, number: int) -> None:
        say(f"{measure}: {contender}, round {number} of {self.plan.rounds}")

    def keep(self, measure: str, contender: str, *, ms: Summary | None = None, per_second: float = 0.0) -> None:
        self.records.append(
            QueueRecord(measure=measure, contender=contender, ms=ms or Summary(), per_second=per_second)
        )
