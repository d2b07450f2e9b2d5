"""The provider simulator as a process of its own, shared by a worker's tests."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest


@dataclass(frozen=True)
class SimulatorHandle:
    """Where it listens, and what has arrived there. A test's model ids carry a `key` of their own."""

    url: str

    @property
    def base_urls(self) -> dict[str, str]:
        return {"openai": f"{self.url}/v1", "anthropic": self.url, "google": self.url}

    async def requests(self, key: str) -> list[dict[str, Any]]:
        return await self._get("requests", key=key)

    async def wait(self, key: str, state: str) -> list[dict[str, Any]]:
        """The requests with that key that are in `state`, as soon as there is one; empty after ten seconds."""
        return await self._get("wait", key=key, state=state)

    async def _get(self, what: str, **query: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(timeout=20) as client:
            found: list[dict[str, Any]] = (await client.get(f"{self.url}/_sim/{what}", params=query)).json()
            return found


def scripted(script: str = "") -> tuple[str, str]:
    """A model id that nobody else uses, and its key: `scripted("fault=cut,after=2")`."""
    key = uuid.uuid4().hex
    return ",".join(part for part in ("sim", script, f"key={key}") if part), key


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorHandle]:
    """It ends with this process, even a killed one: its stdin is a pipe that we hold."""
    command = [sys.executable, "-m", "copilot_devstack.simulator", "--port", "0", "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        ready = process.stdout.readline()
        assert ready.startswith("simulator listens on "), "the simulator did not start"
        yield SimulatorHandle(ready.split()[-1])
        process.stdin.close()
        process.wait(10)
