"""Reading logs: their end, and what is added while someone watches."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from copilot_devstack.errors import StackError
from copilot_devstack.files import last_lines
from copilot_devstack.stack import Stack

_POLL_SECONDS = 0.1


class Follower:
    """Hands out what was appended to a file since the last look, in whole lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def new_lines(self) -> list[str]:
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_size < self._offset:
                    self._offset = 0  # the log was set aside because it had grown too long
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()


def follow(followers: dict[str, Follower], wanted: Callable[[], bool]) -> None:
    """Print what is added to the logs, each line behind its label, while `wanted` says so."""
    while wanted():
        for label, follower in followers.items():
            write_lines(label, follower.new_lines())
        time.sleep(_POLL_SECONDS)


def write_lines(label: str, lines: list[str]) -> None:
    sys.stdout.writelines(f"{label}{line}\n" for line in lines)
    sys.stdout.flush()


def show_logs(stack: Stack, service: str | None, *, lines: int, follow_on: bool) -> None:
    servers = [server for server in stack.servers if service in (None, server.name)]
    if not servers:
        names = ", ".join(server.name for server in stack.servers)
        raise StackError(f"No such service: {service}. There are: {names}")
    labels = {server.name: f"{server.name:<8} | " if service is None else "" for server in servers}
    followers = {labels[server.name]: Follower(server.log_path) for server in servers}
    for server in servers:
        write_lines(labels[server.name], last_lines(server.log_path, lines))
    if follow_on:
        follow(followers, lambda: True)
