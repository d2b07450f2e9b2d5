"""Stock arq, run by the peers' Python (`arq_stock.py`)."""

import signal
import subprocess
from pathlib import Path

import msgspec

from bench.peers.environment import program
from copilot_devstack.processes import request_signal_on_parent_death

_PROGRAM = Path(__file__).with_name("arq_stock.py")
_LIMIT_SECONDS = 90.0
_DATABASE = 15  # of the product's Redis; the product has number 0

DEFAULTS: tuple[str, ...] = ()
FAST_POLL = ("--poll-ms=10",)
TUNED = ("--poll-ms=10", "--max-jobs=100", "--keep-result-s=0")


class ArqResult(msgspec.Struct, kw_only=True):
    """Which of the two, the command says."""

    latencies_ms: list[float] = []
    per_second: float = 0.0


def is_installed() -> bool:
    return program("arq") is not None


def run_arq(command: str, redis_url: str, flags: tuple[str, ...], *, jobs: int) -> ArqResult:
    """`command` is idle or rate. Raises RuntimeError where it fails."""
    python = program("python")
    if python is None:
        raise RuntimeError("the peers are not installed")
    url = f"{redis_url.rpartition('/')[0]}/{_DATABASE}"
    line = [str(python), str(_PROGRAM), command, f"--redis-url={url}", f"--jobs={jobs}", *flags]
    try:
        done = subprocess.run(
            line,
            capture_output=True,
            timeout=_LIMIT_SECONDS,
            check=False,
            preexec_fn=request_signal_on_parent_death(signal.SIGTERM),
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"stock arq did not end within {_LIMIT_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise RuntimeError(f"stock arq has ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=ArqResult)
