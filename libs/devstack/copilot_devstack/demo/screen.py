"""How the demo looks: numbered parts, what each shows, and a mark at each thing that was checked."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg
from redis.exceptions import RedisError
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from copilot_cli.client import ApiError
from copilot_cli.failures import describe
from copilot_cli.output import printable
from copilot_common.base.errors import CopilotError

_INDENT = 3
_FAULTS = (CopilotError, ApiError, httpx.HTTPError, psycopg.Error, RedisError, OSError)


class NotAsPromised(CopilotError):
    """A check of the demo failed; the message says which and how."""


class Screen:
    """`failures` has one line for each part that did not do its job."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.failures: list[str] = []
        self._parts = 0

    @contextmanager
    def part(self, title: str, route: str = "") -> Iterator[None]:
        """A part that fails is marked and noted, and the next one has its turn."""
        self._parts += 1
        self.console.print()
        self._print(Text.assemble((f"{self._parts}  {title}", "bold"), (f"   {route}".rstrip(), "dim")), indent=0)
        try:
            yield
        except _FAULTS as error:
            self._print(Text(f"✗ {describe(error)}", "red"))
            self.failures.append(f"{title}: {describe(error)}")

    def say(self, text: str, style: str = "") -> None:
        self._print(Text(printable(text), style))

    def check(self, promise: str, *, kept: bool, otherwise: str) -> None:
        """Marks a promise as kept. Raises NotAsPromised with `otherwise`."""
        if not kept:
            raise NotAsPromised(otherwise)
        self._print(Text.assemble(("✓ ", "green"), promise))

    def close(self, seconds: float) -> bool:
        """Says how it went; True when every part did its job."""
        self.console.print()
        if not self.failures:
            self._print(Text(f"All {self._parts} parts did their job, in {seconds:.1f} s.", "bold green"), indent=0)
            return True
        self._print(Text(f"{len(self.failures)} of {self._parts} parts failed:", "bold red"), indent=0)
        for failure in self.failures:
            self._print(Text(failure, "red"))
        return False

    def _print(self, text: Text, *, indent: int = _INDENT) -> None:
        self.console.print(Padding.indent(text, indent))
