"""How far an import is: two bars at a terminal, else a line now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import filesize
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from copilot_cli.importing.running import Tally
from copilot_cli.output import cell, console, note

if TYPE_CHECKING:
    from copilot_cli.importing.running import Screen

_LINE_SECONDS = 5.0


@contextmanager
def shown() -> Iterator["Screen"]:
    if not sys.stderr.isatty():
        yield Lines()
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[counts]}", markup=False),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("[yellow]{task.fields[trouble]}"),
        console=console(stderr=True),
        transient=True,
    ) as progress:
        yield Bars(progress)


class Lines:
    """For logs and pipes."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def show(self, tally: Tally) -> None:
        if time.monotonic() - self._said >= _LINE_SECONDS:
            self._said = time.monotonic()
            note(f"Sent: {sent_counts(tally)}. Ready: {ready_counts(tally)}.")

    def trouble(self, why: str) -> None:
        if why:
            note(why, style="yellow")


class Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._sent = progress.add_task("Sent", total=None, counts="", trouble="", unit="B")
        self._ready = progress.add_task("Ready", total=None, counts="", trouble="", unit="")

    def show(self, tally: Tally) -> None:
        self._progress.update(
            self._sent,
            total=max(tally.to_send_bytes, tally.sent_bytes),
            completed=tally.sent_bytes,
            counts=sent_counts(tally),
        )
        self._progress.update(self._ready, total=_to_settle(tally), completed=tally.settled, counts=ready_counts(tally))

    def trouble(self, why: str) -> None:
        """From any thread."""
        self._progress.update(self._sent, trouble=why)


def sent_counts(tally: Tally) -> str:
    """`12 of 40 files, 1.2 of 3.4 MB`"""
    sent, all_of_it = filesize.decimal(tally.sent_bytes), filesize.decimal(max(tally.to_send_bytes, tally.sent_bytes))
    return f"{_of(tally.sent, max(tally.to_send, tally.sent))} files, {sent} of {all_of_it}"


def ready_counts(tally: Tally) -> str:
    failed = f", {cell(len(tally.failures))} failed" if tally.failures else ""
    return f"{_of(tally.ready, _to_settle(tally))} files{failed}"


def _to_settle(tally: Tally) -> int:
    return tally.to_settle + max(0, tally.to_send - tally.sent)


def _of(count: int, total: int) -> str:
    return f"{cell(count)} of {cell(total)}"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.speed is None or task.finished:
            return Text("")
        rate = filesize.decimal(int(task.speed)) if task.fields["unit"] else f"{task.speed:.0f}"
        return Text(f"{rate}/s", style="progress.data.speed")
