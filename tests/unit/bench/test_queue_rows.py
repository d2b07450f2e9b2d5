"""From what was measured of the queue to what is shown."""

import random
from pathlib import Path

import pytest
from bench.measures import CHAT, MEASURES, QUEUE, RETRIEVAL, dispatch, idle, search, throughput
from bench.peers import arq_runner, environment
from bench.percentiles import Summary

_LOG = """\
bench asked by workflow-engine: LOG:  execute _pg3_0: SELECT dispatch.sweep_jobs($1::text[], $2)
bench asked by workflow-engine lease: LOG:  statement: SELECT 1
\tLOG:  statement: the second line of a statement
bench asked by context-service: LOG:  execute <unnamed>: SELECT 2
bench asked by [unknown]: LOG:  connection received
bench asked by workflow-engine: ERROR:  no statement
"""


def test_every_measure_has_one_name() -> None:
    assert [*CHAT, *QUEUE, *RETRIEVAL] == MEASURES
    assert len(set(MEASURES)) == len(MEASURES)


def test_statements_are_counted_by_who_sent_them() -> None:
    counted = idle.count_statements(_LOG)
    assert counted == {"workflow-engine": 1, "workflow-engine lease": 1, "context-service": 1}
    assert idle.per_service(counted, "workflow-engine").total() == 2


def test_an_idle_worker_is_judged_by_processor_queries_and_memory() -> None:
    counted = idle.per_service(idle.count_statements(_LOG), "workflow-engine")
    cpu, queries, memory = idle.rows("workflow-engine", 1.5, counted, 10.0, 150.0)
    assert (cpu.verdict, cpu.measured) == ("MISSED", "1.50 %")
    assert (queries.verdict, queries.measured) == ("ok", "0.20/s")
    assert (memory.verdict, memory.target) == ("ok", "≤ 150 MiB")


def test_dispatch_is_judged_over_all_rounds_and_compared_with_the_fast_poll() -> None:
    latencies = {
        "product": [[1.0, 2.0], [3.0, 30.0]],
        "arq, defaults": [[200.0]],
        "arq, poll 10 ms": [[4.0, 6.0]],
    }
    p50, p99 = dispatch.rows(latencies)
    assert (p50.measured, p50.peer, p50.ratio, p50.verdict) == ("2.00 ms", "arq 4.00 ms", 2.0, "ok")
    assert (p99.measured, p99.verdict) == ("30.00 ms", "MISSED")


def test_without_arq_the_rows_say_not_measured_and_keep_their_own_verdict() -> None:
    rows = [*dispatch.rows({"product": [[1.0]]}), throughput.row({"product": [500.0]}, jobs=100)]
    assert [(row.peer, row.ratio) for row in rows] == [("not measured", None)] * 3
    assert [row.verdict for row in rows] == ["ok", "ok", "MISSED"]


def test_throughput_is_a_ratio_of_medians() -> None:
    row = throughput.row({"product": [900.0, 1_000.0, 5_000.0], "arq": [500.0, 400.0, 600.0]}, jobs=100)
    assert (row.measured, row.peer, row.ratio) == ("1000 jobs/s", "arq 500 jobs/s", 2.0)


def test_what_the_queue_adds_to_a_search_is_taken_within_each_round() -> None:
    times = {
        "asked": [Summary(count=1, p50=9.0), Summary(count=1, p50=20.0)],
        "direct": [Summary(count=1, p50=5.0), Summary(count=1, p50=12.0)],
    }
    row = search.row(times, chunks=180, searches=1)
    assert (row.measured, row.verdict) == ("6.00 ms", "ok")


def test_arq_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    assert not arq_runner.is_installed()
    with pytest.raises(RuntimeError):
        arq_runner.run_arq("idle", "redis://127.0.0.1:1/0", (), jobs=1)


def test_questions_are_the_same_both_ways() -> None:
    state = random.getstate()
    assert search._questions(3, 5) == search._questions(3, 5)
    assert random.getstate() == state
