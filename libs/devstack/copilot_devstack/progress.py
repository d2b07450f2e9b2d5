"""What the commands show while they work: one line a step, with its seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.markup import escape


class Step:
    """`note` is shown at the end of the step's line."""

    def __init__(self) -> None:
        self.note = ""


class Progress:
    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """On a terminal the step is seen while it runs; elsewhere it is one line when done. A failed one is marked."""
        step, started, mark = Step(), time.monotonic(), "[red]✗[/]"
        try:
            if self.console.is_terminal:
                with self.console.status(title):
                    yield step
            else:
                yield step
            mark = "[green]✓[/]"
        finally:
            seconds = time.monotonic() - started
            line = f"{mark} {title:<14} {seconds:5.1f} s  {escape(step.note)}".rstrip()
            with suppress(OSError):  # the terminal may be gone while everything is being stopped
                self.console.print(f"  {line}", highlight=False, soft_wrap=True)

    def waiting(self) -> None:
        self.console.print("  Another copilot command is at work on this stack; waiting for it.")
