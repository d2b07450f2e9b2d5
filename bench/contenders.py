"""One run's cast, and the rounds they play in turns."""

from dataclasses import dataclass, field

import msgspec

from bench.cpu import CpuMeter
from bench.load.job import Job, Outcome, Target
from bench.load.runner import generate
from bench.peers.litellm import LiteLlm
from bench.plan import Plan
from bench.product import Product
from bench.progress import say
from bench.simulated import SimulatedProvider


class Record(msgspec.Struct, kw_only=True):
    """One round of one contender; `cpu_ms` is what each process used meanwhile, warm-up and preparation included."""

    measure: str
    contender: str
    outcome: Outcome
    cpu_ms: dict[str, float]


@dataclass(frozen=True)
class Contenders:
    """`peer` is None where it is not installed. `records` keeps every single outcome for the JSON file."""

    plan: Plan
    simulator: SimulatedProvider
    product: Product
    peer: LiteLlm | None
    records: list[Record] = field(default_factory=list)

    def play(self, measure: str, jobs: dict[str, Job], *, rounds: int) -> dict[str, list[Outcome]]:
        """Each job in turn, so many times. Raises LoadFailed."""
        for name, job in jobs.items():
            say(f"{measure}: {name}, first request")
            generate(_first_request(job))
        outcomes: dict[str, list[Outcome]] = {name: [] for name in jobs}
        for number in range(1, rounds + 1):
            for name, job in jobs.items():
                say(f"{measure}: {name}, round {number} of {rounds}")
                outcomes[name].append(self._play_one(measure, name, job))
        return outcomes

    def _play_one(self, measure: str, name: str, job: Job) -> Outcome:
        meter = CpuMeter(self._processes())
        outcome = generate(job)
        cpu = meter.ms_since_start()
        self.records.append(Record(measure=measure, contender=name, outcome=outcome, cpu_ms=cpu))
        return outcome

    def cpu_note(self, measure: str, contender: str) -> str:
        """CPU time per request, all rounds: unlike a rate it hardly depends on what else the machine does."""
        records = [record for record in self.records if (record.measure, record.contender) == (measure, contender)]
        requests = sum(record.outcome.requests for record in records)
        names = records[0].cpu_ms if records else {}
        costs = {name: sum(record.cpu_ms[name] for record in records) / requests for name in names}
        shown = ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items() if cost >= 0.005)
        return f"{contender}: CPU ms per request: {shown}"

    def _processes(self) -> dict[str, int | None]:
        stores = self.product.stores
        return {
            "api": self.product.pid,
            "postgres": stores.postgres.pid,
            "redis": stores.redis.pid,
            "simulator": self.simulator.pid,
            "peer": self.peer.pid if self.peer else None,
        }


def _first_request(job: Job) -> Job:
    """One request on its own: some servers take seconds for their first."""
    return msgspec.structs.replace(job, mode="once", clients=1, ramp_seconds=0.0)


def closed(target: Target, *, clients: int, seconds: float, plan: Plan, tokens: int = 0, stock: int = 0) -> Job:
    return Job(
        mode="closed",
        target=target,
        clients=clients,
        seconds=seconds,
        warm_up_seconds=plan.warm_up_seconds,
        tokens=tokens,
        stock=stock,
    )
