"""Docker's own client, and what it asks a manager of a Swarm for: the manager is ours and only notes it."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from support.compose import GIVEN

DOCKER = shutil.which("docker")
_API = "1.47"  # of Docker 27


@dataclass(frozen=True)
class Deployed:
    """`services` and `networks` are the bodies of the requests that create them, by their names."""

    services: Mapping[str, Mapping[str, Any]]
    networks: Mapping[str, Mapping[str, Any]]
    said: str


def docker(*arguments: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    if DOCKER is None:
        pytest.skip("needs docker's client: https://docs.docker.com/engine/install/binaries")
    given = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", **GIVEN, **environ}
    return subprocess.run([DOCKER, *arguments], env=given, capture_output=True, text=True, timeout=60, check=False)


@cache
def deploy(path: Path) -> Deployed:
    """`docker stack deploy`, to its end."""
    with _manager() as manager:
        host = f"tcp://127.0.0.1:{manager.server_port}"
        done = docker("stack", "deploy", "--detach=true", "-c", path, "copilot", DOCKER_HOST=host)
    assert done.returncode == 0, done.stderr
    return Deployed(
        services={body["Name"]: body for path, body in manager.created if path.endswith("/services/create")},
        networks={body["Name"]: body for path, body in manager.created if path.endswith("/networks/create")},
        said=done.stdout + done.stderr,
    )


class _Manager(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.created = list[tuple[str, Any]]()


class _Handler(BaseHTTPRequestHandler):
    """It has every secret that is asked for, nothing else, and knows no registry."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[Mapping[str, Any]] = {
        "info": {"Swarm": {"LocalNodeState": "active", "ControlAvailable": True}, "OSType": "linux"},
        "networks": [],
        "services": [],
    }

    def do_HEAD(self) -> None:
        self._answer(200, b"")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        name = url.path.rpartition("/")[2]
        if name == "secrets":
            wanted = json.loads(parse_qs(url.query)["filters"][0])["name"]
            self._answer_json(200, [{"ID": f"id-of-{found}", "Spec": {"Name": found}} for found in wanted])
        else:
            self._answer_json(200 if name in self.answers else 404, self.answers.get(name, {"message": "not here"}))

    def do_POST(self) -> None:
        assert isinstance(self.server, _Manager)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.created.append((self.path, body))
        self._answer_json(201, {"ID": "id", "Id": "id"})

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer_json(self, status: int, content: object) -> None:
        self._answer(status, json.dumps(content).encode())

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        for name, value in {"Api-Version": _API, "Ostype": "linux", "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def _manager() -> Iterator[_Manager]:
    manager = _Manager()
    thread = threading.Thread(target=manager.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield manager
    finally:
        manager.shutdown()
        manager.server_close()
        thread.join()
