"""The demo from beginning to end."""

import sys
import time

import psutil
from rich.console import Console

from copilot_cli.client import ApiClient
from copilot_cli.places import Remote
from copilot_devstack.demo.conversation import Transcript, answer_plainly, answer_streamed, replay
from copilot_devstack.demo.documents import choose_questions
from copilot_devstack.demo.screen import NotAsPromised, Screen
from copilot_devstack.demo.secrecy import look_for_plaintext
from copilot_devstack.demo.stage import temporary_stack
from copilot_devstack.demo.tenancy import look_from_elsewhere, look_without_tenant
from copilot_devstack.files import last_lines
from copilot_devstack.progress import Progress
from copilot_devstack.stack import Stack
from copilot_devstack.state import DevState, load_secrets

_PIPED_COLUMNS = 4_096  # no line is broken where programs read
_LOG_LINES = 5


def play() -> bool:
    """True when every part did its job. Raises StackError when the stack does not come up."""
    began = time.monotonic()
    screen = Screen(Console(width=None if sys.stdout.isatty() else _PIPED_COLUMNS))
    plain, streamed = choose_questions()
    screen.console.print("A stack of its own, in a temporary folder:", style="bold")
    with temporary_stack(Progress(screen.console)) as stack:
        state, transcript = _state(stack), Transcript()
        with ApiClient(Remote(state.base_url, state.api_key, "the demo")) as client:
            with screen.part("An answer from a document", "POST /api/v1/conversations/{id}/messages"):
                answer_plainly(screen, client, plain, transcript)
            with screen.part("An answer that streams", "POST …/messages/stream"):
                answer_streamed(screen, client, streamed, transcript)
            with screen.part("The same stream again", "GET …/messages/{message_id}/stream"):
                replay(screen, client, transcript)
        with screen.part("What a thief of the disks could read"):
            look_for_plaintext(screen, stack, state, transcript)
        with screen.part("What others see of it"):
            key = bytes.fromhex(load_secrets(stack.home).encryption_key)
            look_from_elsewhere(screen, state, key, transcript)
            look_without_tenant(screen, state)
        if screen.failures:
            for line in last_lines(stack.api.log_path, _LOG_LINES):
                screen.say(f"api.log: {line}", "dim")
    with screen.part("What is left of the stack"):
        left = [name for name, pid in state.pids.items() if psutil.pid_exists(pid)]
        screen.check("no process, no file", kept=not left and not stack.home.path.exists(), otherwise=f"{left} run on")
    return screen.close(time.monotonic() - began)


def _state(stack: Stack) -> DevState:
    state = stack.state()
    if state is None:
        raise NotAsPromised("the stack came up without describing itself")
    return state
