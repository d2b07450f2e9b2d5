"""From the benchmark's side: a job in a process of its own, bounded in time."""

import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.load.job import Job, Outcome
from copilot_devstack.processes import request_signal_on_parent_death

_ROOT = Path(__file__).parents[2]
_GRACE_SECONDS = 40.0  # connecting, making conversations, the last answers


class LoadFailed(Exception):
    """The generator did not end as it should, or nothing of what it sent was answered."""


def generate(job: Job) -> Outcome:
    """Raises LoadFailed."""
    pace_seconds = job.tokens * job.pace_ms / 1000
    limit = job.warm_up_seconds + job.seconds + job.ramp_seconds + pace_seconds + _GRACE_SECONDS
    outcome = msgspec.json.decode(_run(msgspec.json.encode(job), limit), type=Outcome)
    if not outcome.completed:
        raise LoadFailed(f"nothing was answered by {job.target.path}: {outcome.failures}")
    return outcome


def _run(job: bytes, limit_seconds: float) -> bytes:
    command = [sys.executable, "-m", "bench.load"]
    try:
        done = subprocess.run(
            command,
            input=job,
            capture_output=True,
            cwd=_ROOT,
            timeout=limit_seconds,
            check=False,
            preexec_fn=request_signal_on_parent_death(signal.SIGKILL),
        )
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"the load generator did not end within {limit_seconds:.0f} s") from None
    if done.returncode != 0:
        raise LoadFailed(f"the load generator has ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout
