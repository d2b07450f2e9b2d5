"""The simulation around the autoscaler's algorithm: what goes in, and what becomes of it."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bench.scaling import recording
from bench.scaling.behaviour import Behaviour, Policy, Rules
from bench.scaling.cases import Inputs, Price, play_all
from bench.scaling.charts import Scaling, Unit, cores, mib, read_unit
from bench.scaling.course import play
from bench.scaling.day import Job, Peak, make_day, share_of_peak
from bench.scaling.engines import Engines
from bench.scaling.fleet import Autoscaler, Fleet, Seen, fixed
from bench.scaling.picture import draw
from bench.scaling.rates import SLOTS, TENANT_JOBS, Rates, read_rates
from bench.scaling.recording import Episode, RecordedDocument, RecordedJob, Recording
from bench.scaling.streams import Api, Backlog, ContextServices
from bench.scaling.table import render_case
from bench.scaling.waits import Waits

from copilot_common.platform.settings import Settings
from support.charts import Manifest, render

_QUIET = Rules(0, (Policy("Pods", 9, 15),))
_SECTIONS = {
    "api": "copilot-api",
    "workflowEngine": "copilot-workflow-engine",
    "contextService": "copilot-context-service",
}


def _unit(**scaling: int) -> Unit:
    values = Scaling(min_replicas=1, max_replicas=5, behavior=Behaviour(_QUIET, _QUIET))
    return Unit(msgspec.structs.replace(values, **scaling), 0.5, 1.0, 512.0, ready_seconds=20.0)


def _episode(seconds: int = 600) -> Episode:
    return Episode(
        about="",
        requests=[1] * seconds,
        jobs=[RecordedJob(float(second), 30.0, 1) for second in range(0, seconds, 10)],
        documents=[RecordedDocument(1.0, 100_000)],
        job_rate=1.0,
    )


def _recording() -> Recording:
    names = ("everyday", "rush", "batch", "hour", "import")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    episodes = {name: _episode() if name == "everyday" else _episode(10) for name in names}
    return Recording(recorded_at=at, machine="", about="", episodes=episodes)


@pytest.mark.parametrize(("section", "chart"), _SECTIONS.items())
def test_what_is_played_is_what_the_chart_renders(section: str, chart: str) -> None:
    unit = read_unit(section)
    rendered = {manifest["kind"]: manifest["spec"] for manifest in render(chart, "default") if "spec" in manifest}
    autoscaler, pod = rendered["HorizontalPodAutoscaler"], rendered["Deployment"]["template"]["spec"]
    assert (unit.scaling.min_replicas, unit.scaling.max_replicas) == (
        autoscaler["minReplicas"],
        autoscaler["maxReplicas"],
    )
    assert unit.scaling.behavior == msgspec.convert(autoscaler["behavior"], Behaviour)
    assert _targets(unit.scaling) == dict(map(_target, autoscaler["metrics"]))
    requests, limits = (pod["containers"][0]["resources"][kind] for kind in ("requests", "limits"))
    assert (unit.requested_cores, unit.limit_cores) == (cores(requests["cpu"]), cores(limits["cpu"]))
    assert unit.requested_mib == mib(requests["memory"])
    readiness = pod["containers"][0]["readinessProbe"]
    assert unit.ready_seconds == 10 + readiness["initialDelaySeconds"] + readiness["periodSeconds"]


def _targets(scaling: Scaling) -> dict[str, int]:
    found = {"cpu": scaling.cpu_percent, "memory": scaling.memory_percent, "depth": scaling.queue_depth}
    return {name: target for name, target in found.items() if target is not None}


def _target(metric: Manifest) -> tuple[str, int]:
    if metric["type"] == "Resource":
        return metric["resource"]["name"], metric["resource"]["target"]["averageUtilization"]
    return "depth", int(metric["external"]["target"]["averageValue"])


def test_limits_of_a_worker_are_the_settings_own() -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    assert (defaults["job_slots"], defaults["tenant_job_limit"]) == (SLOTS, TENANT_JOBS)


def test_jobs_take_slots_in_turns_of_their_tenants_and_wait_for_them() -> None:
    jobs = [Job(0.0, 4.0, 1)] * 3 + [Job(0.5, 4.0, 2)]
    engines, fleet = Engines(jobs, slots=1, tenant_jobs=9), Fleet(1, 20.0)
    for second in range(13):
        engines.advance(second, fleet)
        if second == 3:
            assert engines.seen(second, fleet).depth == 3
    # The first tenant's second job has waited when the other tenant comes, whose turn is before the third one's.
    assert engines.waits.percentiles(1, 26, 51, 76) == [0.0, 4.0, 7.5, 12.0]


def test_a_tenant_has_no_more_slots_than_it_may() -> None:
    engines = Engines([Job(0.0, 10.0, 1)] * 4 + [Job(1.0, 10.0, 2)], slots=16, tenant_jobs=3)
    engines.advance(0, Fleet(1, 20.0))
    assert engines.seen(0, Fleet(1, 20.0)).depth == 1
    engines.advance(1, Fleet(1, 20.0))
    assert engines.waits.percentiles(100) == [0.0]  # the other tenant's began at once


def test_a_pod_that_has_gone_begins_nothing() -> None:
    engines, fleet = Engines([Job(0.0, 5.0, 1)] * 3, slots=1, tenant_jobs=9), Fleet(2, 20.0)
    engines.advance(0, fleet)
    fleet.resize(1, 1)
    for second in range(1, 6):
        engines.advance(second, fleet)
    assert engines.waits.percentiles(100) == [5.0]
    assert engines.seen(6, fleet).depth == 0


def test_a_backlog_is_worked_off_in_its_order() -> None:
    backlog = Backlog(np.array([10.0, 2.0, 0.0, 0.0]), rate=2.0)
    for second in range(4):
        backlog.advance(second, 2)
    assert backlog.waits.over_the_day(99, bin_seconds=1, day_seconds=4) == [0.0, 1.5, 0.0, 0.0]  # 6 were left, at 4/s
    assert backlog.left == 0


def test_percentiles_count_what_came_together() -> None:
    waits = Waits()
    waits.add(0, 1.0, 98)
    waits.add(5, 7.0, 2)
    assert waits.percentiles(50, 98, 99, 100) == [1.0, 1.0, 7.0, 7.0]
    assert Waits().percentiles(50) == [0.0]


def test_pods_are_ready_after_their_time_and_the_youngest_go_first() -> None:
    fleet = Fleet(1, 20.0)
    fleet.resize(100, 3)
    assert [fleet.ready(second) for second in (100, 119, 120)] == [1, 1, 3]
    fleet.resize(110, 2)
    fleet.resize(115, 3)
    assert [fleet.ready(second) for second in (120, 134, 135)] == [2, 2, 3]


def test_a_full_queue_brings_replicas_and_an_empty_one_sends_them_away() -> None:
    unit = _unit(queue_depth=10)
    jobs = [Job(30.0, 5.0, 1)] * 200
    course = play("", Engines(jobs, slots=2, tenant_jobs=50), unit, Autoscaler(unit.scaling), replicas=1, seconds=300)
    # Depth 0 is seen at 30 s, which is one sync old; 199 at 60 s. They are ready at 80 s.
    assert course.replicas[:5] == [1, 1, 1, 1, 5]
    assert course.replicas[-1] == 1
    assert course.changes >= 2
    assert course.replica_hours == sum(course.replicas) / 240
    alone = play("", Engines(jobs, slots=2, tenant_jobs=50), unit, fixed(1), replicas=1, seconds=600)
    assert course.waits.percentiles(99)[0] < alone.waits.percentiles(99)[0]


def test_replicas_of_the_api_follow_its_processor_but_not_that_of_pods_which_start() -> None:
    unit, rates = _unit(cpu_percent=50, memory_percent=80), Rates(request_cpu_ms=10, api_mib=100)
    requests = np.full(240, 60.0)  # 0.6 cores: 120 % of one request; 40 % of three
    service = Api(requests, unit, rates, cores=1.0)
    course = play("", service, unit, Autoscaler(unit.scaling), replicas=1, seconds=240)
    assert set(course.replicas) == {1, 3}


def test_memory_that_does_not_depend_on_load_keeps_replicas_that_came_for_another_reason() -> None:
    scaler = Autoscaler(_unit(cpu_percent=70, memory_percent=80).scaling)
    fleet, seen = Fleet(5, 20.0), Seen(cpu=[0.01] * 5, memory=[0.62] * 5)
    for second in range(0, 600, 15):
        fleet.resize(second, scaler(second, fleet, seen))
    assert len(fleet) == 4  # 4 × 62 / 80 is 3.1


def test_a_context_service_that_has_worked_keeps_its_memory() -> None:
    unit, rates = _unit(memory_percent=80), Rates()
    whole, half = rates.chunks_per_second, rates.chunks_per_second / 2
    service, fleet = ContextServices(np.array([whole, half, 0.0]), unit, rates), Fleet(1, 20.0)
    memory = [service.seen(0, fleet).memory[0] * unit.requested_mib]
    for second in range(3):
        service.advance(second, fleet)
        memory.append(service.seen(second, fleet).memory[0] * unit.requested_mib)
    alone, busy = rates.context_alone_mib, rates.context_busy_mib
    assert memory == pytest.approx([rates.context_idle_mib, busy, (alone + busy) / 2, alone])


def test_a_day_is_as_busy_as_its_hours_and_the_same_for_the_same_seed() -> None:
    peak = Peak(requests=10.0, jobs=5.0, chunks=2.5)
    day, again = (make_day(_recording(), peak, seed=3, seconds=11 * 3_600) for _ in range(2))
    assert day.jobs == again.jobs
    assert (day.requests == again.requests).all()
    assert (day.chunks == again.chunks).all()
    assert day.jobs == sorted(day.jobs)
    night, noon = (float(np.median(day.requests[hour * 3_600 : (hour + 1) * 3_600])) for hour in (2, 10))
    assert noon == pytest.approx(10 * share_of_peak(10.5 * 3_600), rel=0.1)  # bursts are seconds, not the half of it
    assert night < 0.2 * noon
    assert make_day(_recording(), peak, seed=4, seconds=3_600).jobs != day.jobs


def test_rates_are_the_newest_that_results_have(tmp_path: Path) -> None:
    plain = {"measure": "plain", "contender": "product", "cpu_ms": {"api": 100.0}, "outcome": {"requests": 50}}
    rows = [{"name": "the same with its children", "measured": "600 MiB"}]
    (tmp_path / "1.json").write_bytes(msgspec.json.encode({"records": [plain], "queue_records": [], "rows": rows}))
    ingestion = {"measure": "retrieval", "contender": "ingestion", "per_second": 700.0}
    (tmp_path / "2.json").write_bytes(msgspec.json.encode({"records": [], "queue_records": [ingestion], "rows": []}))
    assert read_rates(tmp_path) == Rates(request_cpu_ms=2.0, chunks_per_second=700.0, context_busy_mib=600.0)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    recording.save(_recording(), tmp_path / "bursts.json")
    assert recording.load(tmp_path / "bursts.json") == _recording()


def test_the_recording_that_is_kept_has_all_that_a_day_is_made_of() -> None:
    episodes = recording.load().episodes
    assert set(episodes) == {"everyday", "rush", "batch", "hour", "import"}
    assert all(episodes[name].jobs for name in ("everyday", "batch", "hour"))
    assert all(episodes[name].documents for name in ("everyday", "import"))
    assert all(sum(episode.requests) for episode in episodes.values())


def test_each_service_has_a_table_and_a_column_in_the_picture() -> None:
    cases = play_all(Inputs(_recording(), Rates(), seed=1, seconds=1_200))
    tables = [render_case(case, Price()) for case in cases]
    assert all("as the chart sets it" in table and "$" in table for table in tables)
    picture = draw(cases, Price())
    assert picture.count("<polyline") == 3 * sum(len(case.courses) for case in cases)
    assert all(f">{case.title}</text>" in picture for case in cases)
