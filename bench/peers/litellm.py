"""The LiteLLM proxy: one worker, no database (it persists nothing), a master key, no retries, no telemetry."""

import http.client
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from bench.load.job import Target
from bench.peers.environment import program
from bench.words import TURNS, chat_bodies
from copilot_devstack.files import last_lines
from copilot_devstack.ports import free_port
from copilot_devstack.processes import Process, spawn, wait_until

_READY_SECONDS = 90.0
_STOP_STEPS = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
_MIB = 1024 * 1024


@dataclass(frozen=True)
class LiteLlm:
    """Running. Its models are named as the simulator's scripts are."""

    pid: int
    port: int
    master_key: str

    def plain(self, script: str) -> Target:
        return self._target(chat_bodies(_name(script), stream=False, turns=TURNS))

    def streamed(self, script: str) -> Target:
        return self._target(chat_bodies(_name(script), stream=True, turns=TURNS))

    def rss_mib(self) -> float:
        return psutil.Process(self.pid).memory_info().rss / _MIB

    def _target(self, bodies: list[str]) -> Target:
        headers = {"Authorization": f"Bearer {self.master_key}"}
        return Target(
            host="127.0.0.1",
            port=self.port,
            path="/v1/chat/completions",
            headers=headers,
            bodies=bodies,
            turns=TURNS,
        )


@contextmanager
def running_litellm(upstream_url: str, scripts: tuple[str, ...], *, folder: Path) -> Iterator[LiteLlm | None]:
    """None where it is not installed. `folder` takes its files. Raises RuntimeError where it does not start."""
    executable = program("litellm")
    if executable is None:
        yield None
        return
    folder.mkdir()
    key, port = f"sk-{secrets.token_hex(16)}", free_port()
    process = _launch(executable, folder, upstream_url, scripts, key=key, port=port)
    try:
        if not wait_until(lambda: not process.is_alive or _is_ready(port), _READY_SECONDS) or not process.is_alive:
            raise RuntimeError("\n".join(["LiteLLM has not started:", *last_lines(folder / "log", 15)]))
        yield LiteLlm(process.pid, port, key)
    finally:
        process.stop(_STOP_STEPS)


def _launch(
    executable: Path, folder: Path, upstream_url: str, scripts: tuple[str, ...], *, key: str, port: int
) -> Process:
    config = folder / "config.yaml"
    config.write_bytes(msgspec.json.encode(_config(upstream_url, scripts)))  # JSON is YAML
    flags = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return spawn(
        [str(executable), "--config", str(config), *flags],
        log=folder / "log",
        cwd=folder,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "LITELLM_MASTER_KEY": key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the network for prices at start
            "LITELLM_LOG": "ERROR",
        },
        on_parent_death=signal.SIGKILL,
    )


def _config(upstream_url: str, scripts: tuple[str, ...]) -> dict[str, object]:
    models = [
        {
            "model_name": _name(script),
            "litellm_params": {"model": f"openai/{script}", "api_base": upstream_url, "api_key": "sk-simulated"},
        }
        for script in scripts
    ]
    return {
        "model_list": models,
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }


def _name(script: str) -> str:
    """A plain name: LiteLLM gives commas and slashes meanings of its own."""
    return "".join(character if character.isalnum() else "-" for character in script)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/liveliness")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
