"""What the commands do at the terminal: show progress, stay in the foreground, end on signals, say what went wrong."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from copilot_common.base.errors import CopilotError
from copilot_devstack.logs import Follower, follow
from copilot_devstack.progress import Progress
from copilot_devstack.ready import ready_text
from copilot_devstack.server import Server
from copilot_devstack.stack import Stack

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def reporting() -> Iterator[None]:
    """Errors become their message and exit code 1; an interruption exits with 130."""
    with _interrupted_by_signals():
        try:
            yield
        except CopilotError as error:
            Console(stderr=True).print(error.message, style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def bring_up(stack: Stack) -> None:
    progress = Progress(_console())
    state = stack.up(progress)
    text = ready_text(state, stack.api, seconds=progress.seconds, state_path=stack.home.dev_json)
    progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def stay(stack: Stack) -> None:
    """Until a signal, or until nothing of the stack runs any more. Ends all of it, also what ran before."""
    log = Follower(stack.api.log_path)
    with ExitStack() as cleanup, suppress(KeyboardInterrupt):
        cleanup.callback(_end, stack)
        try:
            bring_up(stack)
        except CopilotError:
            cleanup.pop_all()  # `up` has stopped what it had started; the rest was not ours to start
            raise
        _console().print("\nThe API's log follows; Ctrl-C ends everything.\n", style="bold", highlight=False)
        _watch(stack, log)


def bring_down(stack: Stack) -> None:
    if not stack.down(Progress(_console())):
        _console().print("Nothing was running.")


def start_afresh(stack: Stack) -> None:
    stack.reset(Progress(_console()))


def show_status(stack: Stack, *, as_json: bool) -> bool:
    """True when every part runs."""
    rows = stack.status()
    if as_json:
        sys.stdout.write(msgspec.json.encode(rows).decode() + "\n")
    else:
        table = Table("service", "state", "pid", "port", "log", box=None, header_style="bold", pad_edge=False)
        for row in rows:
            state = "[green]running[/]" if row.pid else "[red]down[/]"
            table.add_row(row.name, state, str(row.pid or ""), str(row.port or ""), row.log)
        _console().print(table, soft_wrap=True)
    return all(row.pid is not None for row in rows)


def _watch(stack: Stack, log: Follower) -> None:
    seen: set[Server] = set()

    def something_runs() -> bool:
        running = set(stack.running())
        for server in seen - running:
            hint = "`copilot up --detach` in another terminal starts it again"
            _console().print(f"{server.title} has ended; {hint}.", style="red", highlight=False, soft_wrap=True)
        seen.clear()
        seen.update(running)
        return bool(running)

    follow({"": log}, something_runs)


def _end(stack: Stack) -> None:
    """A second Ctrl-C does not wait for answers that are still being written, but leaves nothing running either."""
    try:
        stack.down(Progress(_console()))
    except KeyboardInterrupt:
        with _deaf():
            stack.kill()


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Every way to be told to end is a KeyboardInterrupt, also where a script has started us with SIGINT ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _deaf() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _console() -> Console:
    return Console()
