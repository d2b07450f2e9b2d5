"""DBOS, run by the peers' Python (`dbos_steps.py`), in a database of its own on the product's PostgreSQL."""

import signal
import subprocess
from pathlib import Path

import msgspec

from bench.peers.environment import program
from copilot_devstack.processes import request_signal_on_parent_death

_PROGRAM = Path(__file__).with_name("dbos_steps.py")
_LIMIT_SECONDS = 120.0


class DbosResult(msgspec.Struct, kw_only=True):
    """Which of the two, the command says."""

    latencies_ms: list[float] = []
    per_second: float = 0.0


def is_installed() -> bool:
    return program("dbos") is not None


def run_dbos(command: str, database_url: str, *, runs: int) -> DbosResult:
    """`command` is single or rate. Raises RuntimeError where it fails."""
    python = program("python")
    if python is None:
        raise RuntimeError("the peers are not installed")
    line = [str(python), str(_PROGRAM), command, f"--database-url={database_url}", f"--runs={runs}"]
    try:
        done = subprocess.run(
            line,
            capture_output=True,
            timeout=_LIMIT_SECONDS,
            check=False,
            preexec_fn=request_signal_on_parent_death(signal.SIGTERM),
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"DBOS did not end within {_LIMIT_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise RuntimeError(f"DBOS has ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=DbosResult)
