"""What the guides say of a running API, asked of one."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.api import SharedApi, shared_api
from support.guide import GUIDE, OURS, read_guide
from support.simulator import simulator

__all__ = ["shared_api", "simulator"]

each_guide = pytest.mark.parametrize("path", [GUIDE, OURS], ids=["guide", "ours"])


@pytest.fixture
async def used_api(shared_api: SharedApi) -> SharedApi:
    """It has answered someone."""
    async with shared_api.process.client(shared_api.site.acme) as client:
        answer = await client.ask(await client.conversation(), "Hello?")
    assert answer.status_code == 201, answer.text
    return shared_api


def line_like(example: dict[str, Any], api: SharedApi) -> dict[str, Any]:
    wanted = {name: example[name] for name in ("message", "method", "path", "status")}
    return next(line for line in api.process.log_lines if wanted.items() <= line.items())


@each_guide
def test_a_request_leaves_the_guides_log_line_field_by_field(path: Path, used_api: SharedApi) -> None:
    (block,) = read_guide(path).in_language("json")
    example = json.loads(block.text)
    line = line_like(example, used_api)
    assert list(line) == list(example)
    assert {name: type(value) for name, value in line.items()} == {name: type(value) for name, value in example.items()}
    assert re.sub(r"\d", "0", line["timestamp"]) == re.sub(r"\d", "0", example["timestamp"])
    assert (line["level"], line["service"]) == (example["level"], example["service"])


@each_guide
def test_the_guides_grep_finds_the_durations(path: Path, used_api: SharedApi) -> None:
    """What stands behind the pipe, over what `kubectl logs` would print."""
    (command,) = [command for _, command in read_guide(path).commands() if command.startswith("kubectl logs -l")]
    search = command.partition("| ")[2]
    log = used_api.process.log_path.read_bytes()
    done = subprocess.run(["bash", "-c", search], input=log, capture_output=True, timeout=60, check=True)
    assert all(isinstance(json.loads(line)["duration_ms"], int) for line in done.stdout.splitlines())


@each_guide
def test_the_api_exports_the_guides_key_metrics(path: Path, used_api: SharedApi) -> None:
    """Declared from the start, so that nobody asks for what will never come; those of requests have values by now."""
    families = list(text_string_to_metric_families(httpx.get(f"{used_api.process.url}/metrics").text))
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert {row[0] for row in read_guide(path).table("Monitoring Setup > Key Metrics").rows} <= exported
    counted = {sample.name: sample.value for family in families for sample in family.samples}
    assert min(counted["http_requests_total"], counted["llm_requests_total"], counted["llm_tokens_used_total"]) > 0


@each_guide
def test_the_guides_probes_are_answered(path: Path, used_api: SharedApi) -> None:
    probes = [fence.text.split() for fence in read_guide(path).fences if fence.text.startswith("GET ")]
    assert len(probes) == 3
    for method, where in probes:
        answer = httpx.request(method, used_api.process.url + where)
        assert answer.status_code == 200, answer.text
