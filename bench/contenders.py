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


@dataclass(frozen=True)
class Contenders:
    """`peer` is None where it is not installed. `records` keeps every single outcome for the JSON file."""

    plan: Plan
    simulator: SimulatedProvider
    product: Product
    peer: LiteLlm | None
    records: list[dict[str, object]] = field(default_factory=list)

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
        self.records.append({"measure": measure, "contender": name, "outcome": outcome, "cpu_ms": cpu})
        return outcome

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


def closed(target: Target, *, clients: int, seconds: float, plan: Plan, tokens: int = 0) -> Job:
    return Job(
        mode="closed",
        target=target,
        clients=clients,
        seconds=seconds,
        warm_up_seconds=plan.warm_up_seconds,
        tokens=tokens,
    )
