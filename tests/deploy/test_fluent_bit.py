"""Fluent Bit's configurations have the guide's output, and turn the log lines of our processes into fields."""

import fnmatch
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support import fluent_bit
from support.api import SharedApi, shared_api
from support.charts import ROOT, load_strictly, pods
from support.clients import V1
from support.fluent_bit import OF_RUNTIMES, Record, Section, of_kind, read_time, ship
from support.guide import GUIDE, OURS, read_guide
from support.simulator import simulator
from support.workers import ENGINE, Workers, workers

__all__ = ["shared_api", "simulator", "workers"]

DEPLOY = ROOT / "deploy"
NAMESPACE = "copilot-prod"


def values() -> dict[str, Any]:
    (found,) = load_strictly((DEPLOY / "fluent-bit-values.yaml").read_text())
    return dict(found)


def of_kubernetes() -> tuple[list[Section], list[Section]]:
    config = values()["config"]
    parts = (config[name] for name in ("service", "inputs", "filters", "outputs"))
    return fluent_bit.read("\n".join(parts)), fluent_bit.read(config["customParsers"])


def of_docker() -> tuple[list[Section], list[Section]]:
    texts = ((DEPLOY / name).read_text() for name in ("fluent-bit.conf", "fluent-bit-parsers.conf"))
    configuration, parsers = map(fluent_bit.read, texts)
    return configuration, parsers


def as_containerd(lines: Sequence[str]) -> list[str]:
    return [f"2026-01-15T12:00:00.123456789Z stdout F {line}" for line in lines]


def as_docker(lines: Sequence[str]) -> list[str]:
    return [json.dumps({"log": f"{line}\n", "stream": "stdout", "time": "2026-01-15T12:00:00Z"}) for line in lines]


Read = Callable[[], tuple[list[Section], list[Section]]]
Wrap = Callable[[Sequence[str]], list[str]]

each_file = pytest.mark.parametrize("read", [of_kubernetes, of_docker], ids=["kubernetes", "docker"])
RUNTIMES: tuple[tuple[Read, Wrap], ...] = (
    (of_kubernetes, as_containerd),
    (of_kubernetes, as_docker),
    (of_docker, as_docker),
)


@each_file
def test_the_guides_output_is_ours(read: Read) -> None:
    """Line for line: what is bounded comes to it."""
    (block,) = [fence.text for fence in read_guide(GUIDE).in_language("yaml") if "[OUTPUT]" in fence.text]
    (theirs,) = fluent_bit.read(block)
    (ours,) = of_kind(read()[0], "OUTPUT")
    assert theirs.options.items() <= ours.options.items()
    assert theirs.plugin == "es"
    assert len(theirs.options) == 5


@each_file
def test_both_parse_and_send_alike(read: Read) -> None:
    sections, parsers = read()
    others, other_parsers = of_docker()
    assert parsers == other_parsers
    assert of_kind(sections, "OUTPUT") == of_kind(others, "OUTPUT")
    assert of_kind(sections, "FILTER", "parser") == of_kind(others, "FILTER", "parser")


@each_file
def test_what_waits_is_on_a_disk_and_bounded(read: Read) -> None:
    sections, _ = read()
    (service,), (source,), (output,) = (of_kind(sections, kind) for kind in ("SERVICE", "INPUT", "OUTPUT"))
    assert source.options["storage.type"] == "filesystem"
    assert "mem_buf_limit" not in source.options  # it binds what is in memory only: it would say nothing
    assert Path(service.options["storage.path"]).is_absolute()
    chunks = int(service.options["storage.max_chunks_up"]) * 2 * 2**20  # a chunk is 2 MB
    assert chunks < 2**28 * 3 / 4
    assert output.options["storage.total_limit_size"] == "1G"
    assert int(output.options["retry_limit"]) < 20
    assert (source.options["buffer_max_size"], source.options["skip_long_lines"]) == ("256k", "On")
    assert source.options["db"].startswith(("/var/log/", "/var/lib/"))  # where it has read to outlives the process


def test_the_charts_pods_files_are_read_and_no_other_ones() -> None:
    sections, _ = of_kubernetes()
    pattern = of_kind(sections, "INPUT")[0].options["path"]
    for name, (_, spec) in pods("default").items():
        pod = f"{name.partition('/')[2]}-5d9c7b8f4-x2k7p"
        for container in spec["containers"]:
            path = f"/var/log/containers/{pod}_{NAMESPACE}_{container['name']}-{'0' * 64}.log"
            assert fnmatch.fnmatch(path, pattern) == pod.startswith("copilot-"), path
    assert not fnmatch.fnmatch("/var/log/containers/copilot-api-x_staging_api-0.log", pattern)
    assert pods("default")["Deployment/copilot-api"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[OUTPUT]\n    Name es\n    Indxe copilot-logs\n", "does not know"),
        ("[OUTPUT]\n    Name elastic\n", "no such plugin"),
        ("[OUTPUTS]\n    Name es\n", "no such section"),
        ("[OUTPUT]\n  Name es\n", "not understood"),
        ("[OUTPUT]\n    Name es\n    Name es\n", "not understood"),
        ("    Name es\n", "not understood"),
    ],
)
def test_the_reader_is_strict(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        fluent_bit.read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-15T12:00:00.250Z", datetime(2026, 1, 15, 12, 0, 0, 250_000, UTC)),
        ("2026-01-15T12:00:00.250+02:00", datetime(2026, 1, 15, 10, 0, 0, 250_000, UTC)),
        ("2026-01-15T12:00:00Z", None),
        ("yesterday", None),
    ],
)
def test_the_time_format_reads_our_times(text: str, expected: datetime | None) -> None:
    _, (parser,) = of_kubernetes()
    assert read_time(parser.options["time_format"], text) == expected


@pytest.fixture
async def lines(shared_api: SharedApi, workers: Workers) -> dict[str, list[str]]:
    """Of a server's and a worker's own process, some requests later; both workers write theirs in one way."""
    async with shared_api.process.client(shared_api.site.acme) as client:
        assert (await client.ask(await client.conversation(), "Hello?")).status_code == 201
        assert (await client.http.get(f"{V1}/nowhere")).status_code == 404
    engine = workers(shared_api.site.environ(), ENGINE)
    paths = {"api-server": shared_api.process.log_path, "workflow-engine": engine.log_path}
    return {name: path.read_text().splitlines() for name, path in paths.items()}


async def test_fields_and_times_of_our_processes_lines_come_out(lines: dict[str, list[str]]) -> None:
    for read, wrap in RUNTIMES:
        sections, parsers = read()
        for service, written in lines.items():
            assert written
            records = list(ship(sections, parsers, wrap(written)))
            for record, line in zip(records, written, strict=True):
                check(record, json.loads(line), service)
        requests = [record.fields for record in ship(sections, parsers, wrap(lines["api-server"]))]
        answered = next(found for found in requests if found.get("status") == 201)
        (example,) = read_guide(OURS).in_language("json")
        assert json.loads(example.text).keys() <= answered.keys()
        assert re.fullmatch("[0-9a-f]{32}", answered["trace_id"])


def check(record: Record, written: dict[str, Any], service: str) -> None:
    """All of the line is there, and the record is of the line's time, to the millisecond."""
    assert not written.keys() & OF_RUNTIMES
    assert {name: value for name, value in record.fields.items() if name not in OF_RUNTIMES} == written
    assert record.fields["service"] == service
    assert record.fields["level"] in {"debug", "info", "warning", "error"}
    assert record.time == datetime.fromisoformat(written["timestamp"])


def test_a_line_that_a_runtime_has_cut_is_one_record() -> None:
    line = json.dumps({"timestamp": "2026-01-15T12:00:00.000Z", "service": "api-server", "message": "x" * 40})
    cut = [f"2026-01-15T12:00:00Z stdout P {line[:20]}", f"2026-01-15T12:00:00Z stdout F {line[20:]}"]
    (record,) = ship(*of_kubernetes(), cut)
    assert record.fields["message"] == "x" * 40
    halves = [json.dumps({"log": part}) for part in (line[:20], f"{line[20:]}\n")]
    (record,) = ship(*of_docker(), halves)
    assert record.fields["message"] == "x" * 40


def test_what_is_no_json_stays_a_line_and_other_containers_lines_stay_on_their_host() -> None:
    refusal = "api-server: JWT_SECRET is missing: at least 32 random characters"
    (record,) = ship(*of_kubernetes(), as_containerd([refusal]))
    assert (record.time, record.fields["log"]) == (None, refusal)
    other = json.dumps({"service": "somebody-elses", "message": "hello"})
    assert list(ship(*of_docker(), as_docker([refusal, other]))) == []
