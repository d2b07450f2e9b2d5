"""Worker processes beside the product's API: they run on their defaults, at log level info."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.product import Product
from copilot_devstack import StackError
from copilot_devstack.worker_server import WorkerServer

_ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {"NODE_ENV": "production", "LOG_LEVEL": "info"}

S = TypeVar("S", bound=WorkerServer)


class NothingWorker(WorkerServer):
    name = "bench_worker"
    title = "The benchmark's worker"
    module = "bench.queueing.worker"

    def started_at(self) -> dict[int, float]:
        """Once it has stopped: when each job began, by number, in epoch seconds."""
        try:
            return msgspec.msgpack.decode(self._starts.read_bytes(), type=dict[int, float])
        except OSError:
            raise StackError(f"{self.title} has written nothing; see {self.log_path}") from None

    @property
    def _starts(self) -> Path:
        return self._home.path / "starts"

    def _command(self, port: int) -> list[str]:
        return [*super()._command(port), str(self._starts)]

    def _folder(self) -> Path:
        return _ROOT  # `bench` is not installed


@contextmanager
def running(kind: type[S], product: Product, environ: Mapping[str, str] | None = None) -> Iterator[S]:
    """Ready at the start, stopped at the end."""
    server = kind(
        product.stores.home,
        environ=_ENVIRONMENT | dict(environ or {}),
        connections=lambda: product.connections,
        ends_with_parent=True,
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


def pid_of(server: WorkerServer) -> int:
    """Raises RuntimeError where it runs no more."""
    if server.pid is None:
        raise RuntimeError(f"{server.title} has gone; see {server.log_path}")
    return server.pid
