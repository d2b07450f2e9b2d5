"""The demo from beginning to end."""

import os
import sys
import time

from rich.console import Console

from copilot_cli.client import ApiClient
from copilot_cli.places import Remote
from copilot_devstack.demo.background import answer_later
from copilot_devstack.demo.conversation import answer_plainly, answer_streamed, replay
from copilot_devstack.demo.crash import survive_a_kill
from copilot_devstack.demo.documents import Asked, choose_questions
from copilot_devstack.demo.exchange import Transcript
from copilot_devstack.demo.ingesting import ingest
from copilot_devstack.demo.provider import beside_local, chooses_models, simulated_provider
from copilot_devstack.demo.screen import NotAsPromised, Screen
from copilot_devstack.demo.searching import search
from copilot_devstack.demo.secrecy import look_for_plaintext
from copilot_devstack.demo.stage import changed, temporary_stack
from copilot_devstack.demo.tenancy import look_from_elsewhere, look_without_tenant
from copilot_devstack.files import last_lines
from copilot_devstack.processes import birth_of
from copilot_devstack.progress import Progress
from copilot_devstack.stack import Stack
from copilot_devstack.state import DevState, load_secrets

_PIPED_COLUMNS = 4_096  # no line is broken where programs read
_LOG_LINES = 5


def play() -> bool:
    """True when every part did its job. Raises StackError when the stack does not come up."""
    began = time.monotonic()
    screen = Screen(Console(width=None if sys.stdout.isatty() else _PIPED_COLUMNS))
    questions = choose_questions()
    screen.console.print("A stack of its own, in a temporary folder:", style="bold")
    keeps_models = chooses_models(os.environ)
    with (
        simulated_provider() as provider,
        temporary_stack(Progress(screen.console), {} if keeps_models else beside_local(provider)) as stack,
    ):
        transcript = Transcript()
        with _client(stack) as client:
            _talk(screen, client, questions, transcript)
        with screen.part("An answer whose worker is killed", "GET …/messages/{message_id}/stream"):
            slow = changed(stack, provider) if keeps_models else stack
            with _client(slow) as client:
                survive_a_kill(screen, client, slow.engine, transcript)
        state = _state(stack)
        with screen.part("What a thief of the disks could read"):
            look_for_plaintext(screen, stack, state, transcript)
        with screen.part("What others see of it"):
            key = bytes.fromhex(load_secrets(stack.home).encryption_key)
            look_from_elsewhere(screen, state, key, transcript)
            look_without_tenant(screen, state)
        if screen.failures:
            _show_logs(screen, stack)
        pids = {row.name: row.pid for row in stack.status() if row.pid is not None}
    with screen.part("What is left of the stack"):
        left = [name for name, pid in pids.items() if birth_of(pid) is not None]
        screen.check("no process, no file", kept=not left and not stack.home.path.exists(), otherwise=f"{left} run on")
    return screen.close(time.monotonic() - began)


def _talk(screen: Screen, client: ApiClient, questions: list[Asked], transcript: Transcript) -> None:
    """The parts that any provider can play."""
    plain, streamed, in_context = questions
    with screen.part("An answer from a document", "POST /api/v1/conversations/{id}/messages"):
        answer_plainly(screen, client, plain, transcript)
    with screen.part("An answer that streams", "POST …/messages/stream"):
        answer_streamed(screen, client, streamed, transcript)
    with screen.part("The same stream again", "GET …/messages/{message_id}/stream"):
        replay(screen, client, transcript)
    with screen.part("Documents into the context", "POST /api/v1/context"):
        ingest(screen, client, in_context, transcript)
    with screen.part("A search", "POST /api/v1/context/search"):
        search(screen, client, in_context)
    with screen.part("An answer from the context", 'POST …/messages {"context": {"search": true}}'):
        answer_plainly(screen, client, in_context, transcript)
    with screen.part("An answer in the background", 'POST …/messages {"background": true}'):
        answer_later(screen, client, plain, transcript)


def _client(stack: Stack) -> ApiClient:
    state = _state(stack)
    return ApiClient(Remote(state.base_url, state.api_key, "the demo"))


def _show_logs(screen: Screen, stack: Stack) -> None:
    for server in (stack.api, *stack.workers):
        for line in last_lines(server.log_path, _LOG_LINES):
            screen.say(f"{server.log_path.name}: {line}", "dim")


def _state(stack: Stack) -> DevState:
    state = stack.state()
    if state is None:
        raise NotAsPromised("the stack came up without describing itself")
    return state
