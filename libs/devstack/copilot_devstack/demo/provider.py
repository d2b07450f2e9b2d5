"""A slow provider on this machine: the simulator, for the part that needs time to kill something."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from copilot_devstack.errors import StackError

# One of these says which models the other parts are to meet.
_CHOICES = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "GOOGLE_API_KEY", "DEFAULT_MODEL", "MODELS_FILE")


def chooses_models(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in _CHOICES)


def beside_local(provider: Mapping[str, str]) -> Mapping[str, str]:
    """The provider answers only who names it."""
    return {**provider, "DEFAULT_MODEL": "local/extractive"}


@contextmanager
def simulated_provider() -> Iterator[dict[str, str]]:
    """The settings of a service that is to use it. It ends with this process, even a killed one: we hold its stdin."""
    command = [sys.executable, "-m", "copilot_devstack.simulator", "--until-stdin-closes"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        try:
            if not line.startswith("simulator listens on "):
                raise StackError("The provider simulator did not start.")
            yield {"OPENAI_BASE_URL": f"{line.split()[-1]}/v1", "OPENAI_API_KEY": "sk-simulated"}
        finally:
            process.kill()  # it keeps nothing, and would tell of every connection that it drops
