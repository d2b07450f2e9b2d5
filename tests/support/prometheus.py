"""A real Prometheus that scrapes the processes of a test every second and evaluates our rules as often."""

import json
import math
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from copilot_devstack.ports import free_port
from copilot_devstack.processes import spawn, wait_until
from support.promql import RULES

NAMESPACE = "copilot-test"
_READY_SECONDS = 30.0
_STOPPING = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))


@dataclass(frozen=True)
class Prometheus:
    url: str

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10, trust_env=False)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    def samples(self, expression: str) -> list[float]:
        """The values that it has now, one of each series; those that are no number left out."""
        values = [float(series["value"][1]) for series in self.get("query", query=expression)["result"]]
        return [value for value in values if not math.isnan(value)]

    def wait_for_scrapes(self) -> None:
        """Until all targets have answered a scrape that began after now."""
        now = time.time()
        assert wait_until(lambda: self._are_scraped_since(now), 30), self.get("targets")["activeTargets"]

    def _are_scraped_since(self, moment: float) -> bool:
        targets = self.get("targets")["activeTargets"]
        return bool(targets) and all(
            target["health"] == "up" and datetime.fromisoformat(target["lastScrape"]).timestamp() > moment
            for target in targets
        )


@contextmanager
def prometheus_server(program: str, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """`targets`: the URL of each process by the name of its Service, which Prometheus would call its job."""
    with tempfile.TemporaryDirectory(prefix="copilot-prometheus-") as name:
        folder, port = Path(name), free_port()
        (folder / "prometheus.yml").write_text(json.dumps(_config(targets)))  # JSON is YAML, too
        log = folder / "prometheus.log"
        command = [
            *(program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
        ]
        process = spawn(command, log=log, cwd=folder, env={"PATH": os.defpath}, on_parent_death=signal.SIGKILL)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: not process.is_alive or _is_ready(url), _READY_SECONDS)
            assert process.is_alive, log.read_text()[-4_000:]
            yield Prometheus(url)
        finally:
            process.stop(_STOPPING)


def _config(targets: Mapping[str, str]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{RULES}/*.yaml"],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [url.removeprefix("http://")], "labels": {"namespace": NAMESPACE}}],
            }
            for job, url in targets.items()
        ],
    }


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
