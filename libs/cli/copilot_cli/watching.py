"""A run while it goes on: on a terminal a tree that changes in place, else a line for each event."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

from copilot_cli.client import ApiClient
from copilot_cli.client.run_streams import NumberedEvent
from copilot_cli.client.run_types import RunEvent
from copilot_cli.definitions import encoded
from copilot_cli.output import console, note, print_json, printable
from copilot_cli.run_tree import STYLES, SYMBOLS, Line, RunTree, duration, utc_now

if TYPE_CHECKING:
    from rich.text import Text

_SHOWN_CHARACTERS = 2_000
_KEPT_FREE_LINES = 4  # a live area as high as the screen would scroll and leave fragments behind


def watch(client: ApiClient, run_id: UUID, *, as_json: bool = False) -> bool:
    """To its end; whether it completed. Ctrl-C ends the watching, not the run."""
    tree = RunTree()
    try:
        if as_json:
            _print_raw(client, run_id, tree)
        elif sys.stdout.isatty():
            _draw(client, run_id, tree)
        else:
            _print_lines(client, run_id, tree)
    except KeyboardInterrupt:
        note(f"\nThe run goes on. See it again: copilot workflow watch {run_id}")
        raise
    if not as_json:
        _print_end(run_id, tree)
    return tree.status == "completed"


def _print_raw(client: ApiClient, run_id: UUID, tree: RunTree) -> None:
    for event in client.runs.events(run_id):
        tree.take(event.body)
        sys.stdout.write(event.raw + "\n")
        sys.stdout.flush()


def _print_lines(client: ApiClient, run_id: UUID, tree: RunTree) -> None:
    for event in client.runs.events(run_id, connected=_say_connected):
        tree.take(event.body)
        if line := event_line(event.body):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def event_line(event: RunEvent) -> str | None:
    """`12:03:04  completed  each[3].draft (llm)`; None for what this client does not know."""
    what, path = event.status, f"{event.path} ({event.step_type})"
    if event.type == "review_requested":
        what, path = "asks", f"{event.path}: {' '.join((event.prompt or '').split())}"
    elif event.is_of_run:
        path = "the run"
    if what is None:
        return None
    attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
    error = f": {event.error.code}: {event.error.message}" if event.error else ""
    at = f"{event.at:%H:%M:%S}" if event.at else ""
    return printable(f"{at}  {what:<9}  {path}{attempt}{error}").replace("\n", " ")


class _Screen:
    """The tree, drawn anew four times a second by a thread of rich's; hence the lock."""

    def __init__(self, run_id: UUID, tree: RunTree) -> None:
        self._run_id = run_id
        self._tree = tree
        self._lock = Lock()
        self._is_lost = False
        self._console = console()

    def take(self, event: NumberedEvent) -> None:
        with self._lock:
            self._tree.take(event.body)

    def connected(self, is_there: bool) -> None:
        self._is_lost = not is_there

    @contextmanager
    def shown(self) -> Iterator[None]:
        from rich.live import Live

        with Live(
            console=self._console, get_renderable=self._now, refresh_per_second=4, transient=True, screen=False
        ) as live:
            yield
            live.refresh()

    def whole(self) -> "Text":
        return _text([render(line) for line in self._tree.lines(utc_now())])

    def _now(self) -> "Text":
        from rich.text import Text

        with self._lock:
            room = max(1, self._console.height - _KEPT_FREE_LINES)
            lines = [render(line) for line in self._tree.lines(utc_now(), room)]
            lines.append(render_run(self._run_id, self._tree))
            if self._tree.open_reviews() and self._tree.status == "running":
                lines.append(Text(f"  to answer: copilot workflow review {self._run_id}", style="dim"))
        if self._is_lost:
            lines.append(Text("  The connection is lost; trying again.", style="yellow"))
        for line in lines:
            line.truncate(self._console.width, overflow="ellipsis")
        return _text(lines)


def _draw(client: ApiClient, run_id: UUID, tree: RunTree) -> None:
    screen = _Screen(run_id, tree)
    with screen.shown():
        for event in client.runs.events(run_id, connected=screen.connected):
            screen.take(event)
    console().print(screen.whole())


def render(line: Line) -> "Text":
    from rich.text import Text

    text = Text("  " * line.depth)
    text.append(f"{SYMBOLS[line.status]} ", style=STYLES[line.status])
    text.append(printable(line.text))
    if line.detail:
        text.append(f"  {line.detail}", style="dim")
    if line.error:
        text.append(f"  {line.error}", style="red")
    return text


def render_run(run_id: UUID, tree: RunTree) -> "Text":
    from rich.text import Text

    took = f" · {duration(tree.began, tree.ended or utc_now())}" if tree.began else ""
    return Text(f"Run {run_id} {tree.shown_status}{took}", style=STYLES.get(tree.shown_status, ""))


def _text(lines: "list[Text]") -> "Text":
    from rich.text import Text

    return Text("\n").join(lines)


def _print_end(run_id: UUID, tree: RunTree) -> None:
    console(stderr=True).print(render_run(run_id, tree))
    if tree.error is not None:
        where = f"{tree.error.step}: " if tree.error.step else ""
        note(printable(f"{where}{tree.error.code}: {tree.error.message}"), style="red")
        note(f"Once its cause is gone: copilot workflow retry {run_id}")
    elif tree.status == "completed" and tree.outputs is not None:
        _print_outputs(run_id, tree.outputs)


def _print_outputs(run_id: UUID, outputs: object) -> None:
    """For a program all of it; for a person as much as there is to read."""
    if not sys.stdout.isatty():
        print_json(outputs)
        return
    text = printable(encoded(outputs))
    print(text[:_SHOWN_CHARACTERS])
    if len(text) > _SHOWN_CHARACTERS:
        note(f"… All of it: copilot workflow watch {run_id} --json | tail -n 1", style="dim")


def _say_connected(is_there: bool) -> None:
    note("The connection is there again." if is_there else "The connection is lost; trying again.", style="yellow")
