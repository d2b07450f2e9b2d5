from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from bench.load.job import Outcome
from bench.machine import Machine
from bench.measures.added import added_p50, added_row
from bench.percentiles import Summary
from bench.plan import QUICK
from bench.report import Report, render, save
from bench.rows import Row, at_least, at_most, ratio


def _outcome(p50: float, failures: dict[str, int] | None = None) -> Outcome:
    return Outcome(
        requests=1,
        completed=1,
        seconds=1.0,
        per_second=1.0,
        failures=failures or {},
        latency_ms=Summary(count=1, p50=p50),
        first_token_ms=Summary(),
        gap_excess_ms=Summary(),
        steady_gap_excess_ms=Summary(),
        cpu_share=0.0,
    )


def _report(rows: list[Row]) -> Report:
    machine = Machine(cores=2, processor="cpu", system="Linux", python="3.11", load_average=0.5, packages={})
    began = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    settings = {"fsync": "on"}
    return Report(
        started_at=began,
        seconds=1,
        machine=machine,
        settings=settings,
        plan=QUICK,
        rows=rows,
        records=[],
        queue_records=[],
    )


@pytest.mark.parametrize(("value", "limit", "most", "least"), [(5, 5, "ok", "ok"), (6, 5, "MISSED", "ok")])
def test_a_limit_itself_is_still_good(value: float, limit: float, most: str, least: str) -> None:
    assert (at_most(value, limit), at_least(value, limit)) == (most, least)


def test_a_time_below_what_can_be_measured_makes_no_ratio() -> None:
    assert ratio(22.0, -0.1) is None
    assert ratio(22.0, 2.0) == 11.0


def test_added_time_is_taken_within_each_round() -> None:
    outcomes = {"upstream": [_outcome(1), _outcome(5)], "product": [_outcome(3), _outcome(9)]}
    assert added_p50(outcomes, lambda outcome: outcome.latency_ms.p50) == {"product": [2, 4]}


def test_without_the_peer_the_row_says_not_measured_and_keeps_its_own_verdict() -> None:
    row = added_row("latency", 8.0, {"product": [9.0]}, {"product": [_outcome(9.0)]}, [])
    assert (row.peer, row.ratio, row.verdict) == ("not measured", None, "MISSED")


def test_failed_requests_are_shown_beside_the_speed() -> None:
    row = added_row("latency", 8.0, {"product": [1.0]}, {"product": [_outcome(1.0, {"status 503": 2})]}, [])
    assert row.notes[-1] == "product: 2 failed, e.g. status 503"


def test_the_table_shows_each_row_with_its_notes_and_where_it_was_measured() -> None:
    row = Row(name="speed", target="≥ 5", measured="6", peer="1", ratio=6.0, verdict="ok", notes=["by round: 6 6 6"])
    lines = render(_report([row])).splitlines()
    assert lines[2].split() == ["speed", "≥", "5", "6", "1", "6.0", "×", "ok"]
    assert "  · by round: 6 6 6" in lines
    assert lines[-1] == "fsync=on"
    assert "2 cores" in lines[-2]


def test_the_file_is_named_after_the_start_and_holds_the_whole_report(tmp_path: Path) -> None:
    path = save(_report([]), tmp_path / "results")
    assert path.name == "20260102T030405Z.json"
    assert msgspec.json.decode(path.read_bytes(), type=Report) == _report([])
