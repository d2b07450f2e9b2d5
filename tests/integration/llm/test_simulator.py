"""The simulator itself, where the adapters do not show it."""

import subprocess
import sys
from typing import Any

import httpx
import pytest

from support.simulator import SimulatorHandle, scripted

QUESTION = [{"role": "user", "content": "Hello?"}]


def exchange(format_name: str, model: str) -> tuple[str, dict[str, Any]]:
    """Path and body of a plain, not streamed, request."""
    if format_name == "openai":
        return "/v1/chat/completions", {"model": model, "messages": QUESTION}
    if format_name == "anthropic":
        return "/v1/messages", {"model": model, "messages": QUESTION, "max_tokens": 9}
    return f"/v1beta/models/{model}:generateContent", {"contents": [{"parts": [{"text": "Hello?"}]}]}


def post(simulator: SimulatorHandle, format_name: str, model: str) -> httpx.Response:
    path, body = exchange(format_name, model)
    return httpx.post(simulator.url + path, json=body)


@pytest.mark.parametrize("format_name", ["openai", "anthropic", "google"])
def test_a_request_that_does_not_stream_gets_one_document(simulator: SimulatorHandle, format_name: str) -> None:
    answer = post(simulator, format_name, scripted("tokens=3")[0])
    assert "word0 word1 word2 " in answer.text.replace('"},{"text":"', "")


@pytest.mark.parametrize("format_name", ["openai", "anthropic", "google"])
def test_a_document_can_carry_a_tool_call(simulator: SimulatorHandle, format_name: str) -> None:
    assert '"weather"' in post(simulator, format_name, scripted("tool=weather")[0]).text


@pytest.mark.parametrize("script", ["tokens=many", "nonsense=1", "fault=unheard-of"])
def test_a_script_it_does_not_understand_is_refused(simulator: SimulatorHandle, script: str) -> None:
    assert post(simulator, "openai", scripted(script)[0]).status_code == 400


def test_a_field_it_is_told_to_refuse_is_refused(simulator: SimulatorHandle) -> None:
    assert post(simulator, "anthropic", scripted("refuse=max_tokens")[0]).status_code == 400


def test_a_path_nobody_serves_is_not_found(simulator: SimulatorHandle) -> None:
    assert httpx.get(f"{simulator.url}/nothing").status_code == 404


async def test_keys_are_not_recorded(simulator: SimulatorHandle) -> None:
    model, key = scripted()
    path, body = exchange("openai", model)
    async with httpx.AsyncClient(headers={"Authorization": "Bearer secret", "X-Other": "shown"}) as client:
        await client.post(simulator.url + path, json=body)
    recorded = str(await simulator.requests(key))
    assert "shown" in recorded
    assert "secret" not in recorded


def test_it_ends_when_whoever_started_it_is_gone() -> None:
    command = [sys.executable, "-m", "copilot_devstack.simulator", "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(10) == 0
