"""Which services are played, under which loads and deciders."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from bench.scaling.behaviour import Behaviour
from bench.scaling.charts import Unit, read_unit
from bench.scaling.course import Course, Service, play
from bench.scaling.day import DAY_SECONDS, Day, Peak, make_day
from bench.scaling.engines import Engines
from bench.scaling.fleet import Autoscaler, Decider, fixed
from bench.scaling.rates import SLOTS, TENANT_JOBS, Rates
from bench.scaling.recording import Recording
from bench.scaling.streams import Api, ContextServices

# Everyday traffic of the busiest hour, as a share of what the most replicas can do: room for bursts, and enough for the
# least replicas to be too few.
PEAK_SHARE = 0.6


@dataclass(frozen=True)
class Price:
    """US dollars an hour for what is requested: by default about what AWS Fargate asks for Linux on x86."""

    core: float = 0.04048
    gib: float = 0.004445

    def of(self, unit: Unit) -> float:
        """Of a replica, an hour."""
        return unit.requested_cores * self.core + unit.requested_mib / 1024 * self.gib


@dataclass(frozen=True)
class Case:
    """`courses`: the chart's first."""

    title: str
    waited_for: str
    unit: Unit
    courses: list[Course]


@dataclass(frozen=True)
class Inputs:
    recording: Recording
    rates: Rates
    seed: int
    seconds: int = DAY_SECONDS


def play_all(inputs: Inputs) -> list[Case]:
    api, engine, context = (read_unit(section) for section in ("api", "workflowEngine", "contextService"))
    day = make_day(inputs.recording, peak(inputs, api, engine, context), seed=inputs.seed, seconds=inputs.seconds)
    rates = inputs.rates
    return [
        _case(inputs, "API", "its processor", api, partial(_api, day, api, rates, api.limit_cores)),
        _case(inputs, "API on busy nodes", "its processor", api, partial(_api, day, api, rates, api.requested_cores)),
        _case(inputs, "Workflow engine", "a job's begin", engine, partial(_engines, day)),
        _case(
            inputs,
            "Context service",
            "an item's turn",
            context,
            lambda: ContextServices(day.chunks, context, rates),
            extra={"with CPU 70 % besides": Autoscaler(msgspec.structs.replace(context.scaling, cpu_percent=70))},
        ),
    ]


def peak(inputs: Inputs, api: Unit, engine: Unit, context: Unit) -> Peak:
    """So that the most replicas, at their targets, are used by PEAK_SHARE."""
    everyday, rates = inputs.recording.episodes["everyday"], inputs.rates
    seconds = len(everyday.requests)
    request_rate = sum(everyday.requests) / seconds
    target = api.requested_cores * (api.scaling.cpu_percent or 100) / 100
    return Peak(
        requests=PEAK_SHARE * api.scaling.max_replicas * target / (rates.request_cpu_ms / 1000) / request_rate,
        jobs=PEAK_SHARE * engine.scaling.max_replicas * SLOTS / (sum(job.ran for job in everyday.jobs) / seconds),
        chunks=PEAK_SHARE
        * context.scaling.max_replicas
        * rates.chunks_per_second
        / (sum(document.chunks for document in everyday.documents) / seconds),
    )


def _case(
    inputs: Inputs,
    title: str,
    waited_for: str,
    unit: Unit,
    service: Callable[[], Service],
    extra: dict[str, Autoscaler] | None = None,
) -> Case:
    scaling = unit.scaling
    deciders: dict[str, Decider] = {
        "as the chart sets it": Autoscaler(scaling),
        "Kubernetes' default behaviour": Autoscaler(scaling, Behaviour()),
        f"always {scaling.min_replicas}": fixed(scaling.min_replicas),
        f"always {scaling.max_replicas}": fixed(scaling.max_replicas),
        **(extra or {}),
    }
    courses = []
    for name, decider in deciders.items():
        replicas = scaling.max_replicas if name == f"always {scaling.max_replicas}" else scaling.min_replicas
        courses.append(play(name, service(), unit, decider, replicas=replicas, seconds=inputs.seconds))
    return Case(title, waited_for, unit, courses)


def _api(day: Day, unit: Unit, rates: Rates, cores: float) -> Service:
    return Api(day.requests, unit, rates, cores=cores)


def _engines(day: Day) -> Service:
    return Engines(day.jobs, slots=SLOTS, tenant_jobs=TENANT_JOBS)
